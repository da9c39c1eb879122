//! Base images of a registry: pinned by the lock file, fetched once.

use crate::support::{Project, busybox, registry::Registry};

const BASE: &str = r#"
[step.more]
from = "base"
dirs = [{ path = "/kept", owner = "1000:1001", mode = "0750" }]
files = [{ path = "/gone", content = "x" }, { path = "/kept/file", content = "VERSION" }]
[step.less]
from = "more"
remove = ["/gone"]
config = { env = { WHERE = "registry" } }
[image.root]
from = "less"
output = [{ oci = "dist/root" }]
"#;

/// A registry with `test/base:1`, whose file /kept/file holds `version`.
fn seed(registry: &Registry, version: &str) -> Project {
    let maker = busybox(&BASE.replace("VERSION", version));
    maker.build();
    registry.push(&maker.path("dist/root"), "latest", "test/base:1");
    maker
}

fn user(registry: &Registry) -> Project {
    let base = format!("[source.base]\nimage = '{}/test/base:1'\n", registry.host);
    let steps = r#"
[step.it]
from = "base"
run = "test ! -e /gone; echo $(cat /kept/file) $WHERE $(stat -c %u:%g:%a /kept) > /it"
[image.app]
from = "it"
output = [{ oci = "dist/app" }, { dir = "dist/tree" }]
"#;
    Project::new(&format!("version = 1\nepoch = 1700000000\n{base}{steps}"))
}

#[test]
fn sandbox_a_base_of_a_registry_is_fetched_once() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let registry = Registry::start();
    let maker = seed(&registry, "one");
    let project = user(&registry);
    let first = project.build();
    assert_eq!(first.ran(), ["step.it"]);
    assert_eq!(project.read("dist/tree/it"), "one registry 1000:1001:750\n");
    let (base, app) = (maker.layout("dist/root"), project.layout("dist/app"));
    app.check("latest");
    let below = base.layers("latest");
    assert_eq!(first.transfers(), [("source.base", below.len())]);
    assert_eq!(app.layers("latest")[..below.len()], below, "base layers stay byte for byte");
    let lock = project.read("rbuild.lock");
    assert!(lock.contains(&format!("digest = \"{}\"", base.digest("latest"))), "{lock}");
    // Nobody is there to be asked any more.
    drop(registry);
    let again = project.build();
    assert_eq!((again.ran(), again.cached()), (vec![], vec!["step.it"]));
    assert_eq!(again.transfers(), []);
    project.write("build.toml", project.read("build.toml").replace("> /it", "> /it; sync"));
    assert_eq!(project.apply(["--offline", "--locked"]).success().ran(), ["step.it"]);
    assert_eq!(project.read("rbuild.lock"), lock);
}

#[test]
fn sandbox_the_lock_says_what_a_tag_means() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let registry = Registry::start();
    let first = seed(&registry, "one").layout("dist/root").digest("latest");
    let project = user(&registry);
    let told = project.rbuild(["apply", "--locked"]).failure(3);
    assert!(told.contains("error[not-locked]: ") && told.contains("/test/base:1"), "{told}");
    assert!(!project.path("rbuild.lock").exists());
    let told = project.rbuild(["apply", "--offline"]).failure(3);
    assert!(told.contains("error[offline]: "), "{told}");
    project.build();
    // The tag moves; the lock does not, not even for a store that knows nothing.
    let second = seed(&registry, "two").layout("dist/root").digest("latest");
    std::fs::remove_dir_all(project.store()).expect("the store");
    project.build();
    assert_eq!(project.read("dist/tree/it"), "one registry 1000:1001:750\n");
    let told = project.rbuild(["update"]).success();
    let expected = format!("source.base {}/test/base:1\n  was {first}\n  is  {second}\n", registry.host);
    assert_eq!(told, expected);
    project.build();
    assert_eq!(project.read("dist/tree/it"), "two registry 1000:1001:750\n");
    let told = project.rbuild(["update", "base"]).success();
    assert!(told.contains(&format!("is still {second}")), "{told}");
    let told = project.rbuild(["update", "it"]).failure(2);
    assert!(
        told.contains("`it` is no source that is looked up") && told.contains("these are: base"),
        "{told}"
    );
}

#[test]
fn sandbox_a_locked_digest_that_is_gone_is_told_with_that_of_today() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let registry = Registry::start();
    seed(&registry, "one");
    let project = user(&registry);
    project.build();
    registry.forget();
    let second = seed(&registry, "two").layout("dist/root").digest("latest");
    std::fs::remove_dir_all(project.store()).expect("the store");
    let told = project.rbuild(["apply"]).failure(3);
    assert!(told.contains("error[registry-failed]: ") && told.contains("source `base`"), "{told}");
    assert!(told.contains(&format!("is {second} today")) && told.contains("rbuild update"), "{told}");
}

#[test]
fn sandbox_what_two_images_share_comes_once() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let registry = Registry::start();
    let maker = seed(&registry, "one");
    let more = busybox(
        "[step.same]\nfrom = 'base'\nfiles = [{ path = '/more', content = 'more' }]\n\
         [image.more]\nfrom = 'same'\noutput = [{ oci = 'dist/more' }]\n",
    );
    more.build();
    registry.push(&more.path("dist/more"), "latest", "test/more:1");
    let (base, more) =
        (maker.layout("dist/root").layers("latest"), more.layout("dist/more").layers("latest"));
    assert_eq!(base[0], more[0], "both stand on busybox");
    let source = |name: &str| format!("[source.{name}]\nimage = '{}/test/{name}:1'\n", registry.host);
    let merge = "[step.both]\nmerge = ['base', 'more']\nconflict = 'first'\n";
    let text = format!("version = 1\nepoch = 1700000000\n{}{}{merge}", source("base"), source("more"));
    let build = Project::new(&text).apply(["both"]).success();
    let blobs: usize = build.transfers().iter().map(|(_, blobs)| blobs).sum();
    assert_eq!(blobs, base.len() + more.len() - 1);
}

#[test]
fn sandbox_layers_of_a_base_are_not_sent_back() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let registry = Registry::start();
    let base = seed(&registry, "one").layout("dist/root").layers("latest").len();
    let project = user(&registry);
    project.build();
    let target = format!("{}/mine/app:1", registry.host);
    let told = project.rbuild(["push", "app", &target]).success();
    assert!(
        told.ends_with(&format!(": 2 blobs sent, {base} were there\n")),
        "its own layer and its config: {told}"
    );
}

#[test]
fn names_of_images_are_checked() {
    let project = Project::new("[source.a]\nimage = 'Debian:12'\n[source.b]\nimage = 'docker://debian:12'\n");
    let told = project.rbuild(["check"]).failure(2);
    for part in ["lower case", "build.toml:2:9", "write \"debian:12\"", "build.toml:4:9"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn sandbox_an_image_is_pushed_by_its_tags_or_elsewhere() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let registry = Registry::start();
    let project = busybox(&format!(
        "[step.it]\nfrom = 'base'\nfiles = [{{ path = '/x', content = 'x' }}]\n\
         [image.app]\nfrom = 'it'\ntags = ['{}/team/app:1', '{}/team/app:latest']\noutput = [{{ oci = 'dist' }}]\n\
         [image.untagged]\nfrom = 'it'\n",
        registry.host, registry.host
    ));
    let told = project.rbuild(["push", "app"]).failure(2);
    assert!(
        told.contains("was not made by the last build") && told.contains("rbuild apply build.toml image.app"),
        "{told}"
    );
    let digest = project.build().digest("app").to_owned();
    let told = project.rbuild(["push", "app"]).success();
    let line = |tag: &str, blobs: &str| format!("{}/team/app:{tag} {digest}: {blobs}\n", registry.host);
    let (sent, there) = ("3 blobs sent, 0 were there", "0 blobs sent, 3 were there");
    assert_eq!(told, line("1", sent) + &line("latest", there));
    assert_eq!(registry.digest("team/app:latest"), digest);
    let other = format!("{}/other/app:2", registry.host);
    let told = project.rbuild(["push", "image.untagged", &other]).success();
    assert_eq!(
        told,
        format!("{other} {digest}: {there}\n"),
        "the registry takes them from the other repository"
    );
    assert_eq!(registry.digest("other/app:2"), digest, "the same content, the same image");
    let told = project.rbuild(["push", "untagged"]).failure(2);
    assert!(told.contains("has no tags") && told.contains("rbuild push untagged HOST/PATH:TAG"), "{told}");
}

#[test]
fn sandbox_who_may_not_push_is_told_and_may_after_login() {
    needs!(fuse, busybox, "docker-registry", "htpasswd");
    let registry = Registry::for_user("ann", "se,cret");
    let project = busybox("[image.app]\nfrom = 'base'\noutput = [{ oci = 'dist' }]\n");
    project.build();
    let home = project.path("home").display().to_string();
    let rbuild = |arguments: &[&str], password: &str| {
        let mut command = project.command();
        command
            .args(arguments)
            .env("HOME", &home)
            .env_remove("DOCKER_CONFIG")
            .env_remove("REGISTRY_AUTH_FILE");
        command.env_remove("XDG_RUNTIME_DIR").env_remove("XDG_CONFIG_HOME").env("RBUILD_LOG", "trace");
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().expect("rbuild");
        let mut stdin = child.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut stdin, password.as_bytes()).expect("it reads");
        drop(stdin);
        project.output(arguments.join(" "), &child.wait_with_output().expect("it ends"))
    };
    let target = format!("{}/team/app:1", registry.host);
    let told = rbuild(&["push", "app", &target], "").failure(3);
    assert!(told.contains("error[registry-failed]: ") && told.contains(&registry.host), "{told}");
    let login = ["login", &registry.host, "--username", "ann", "--password-stdin"];
    let told = rbuild(&login, "guessed").failure(3);
    assert!(told.contains("is wrong") && told.contains("DEBUG") && !told.contains("guessed"), "{told}");
    // Nor the bytes that go over the line.
    assert!(!told.to_lowercase().contains("rization"), "{told}");
    let told = rbuild(&login, "se,cret\n").success();
    assert!(told.contains("home/.docker/config.json") && !told.contains("se,cret"), "{told}");
    rbuild(&["push", "app", &target], "").success();
    assert_eq!(
        rbuild(&["logout", &registry.host], "").success(),
        format!("logged out of {}\n", registry.host)
    );
    rbuild(&["push", "app", &target], "").failure(3);
}

#[test]
fn sandbox_an_output_is_pushed_once() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let registry = Registry::start();
    let image = |tags: &str| format!("[image.app]\nfrom = 'base'\n{tags}output = [{{ push = true }}]\n");
    let project = busybox(&image(&format!("tags = ['{}/team/app:1']\n", registry.host)));
    let build = project.build();
    assert_eq!(registry.digest("team/app:1"), build.digest("app"));
    assert_eq!(build.transfers(), [(format!("{}/team/app:1", registry.host).as_str(), 2)]);
    assert_eq!(project.build().transfers(), []);
    let told = project.rbuild(["apply", "--offline"]).failure(3);
    assert!(told.contains("error[offline]: ") && told.contains("image `app`"), "{told}");
    project.write_steps(&image(""));
    let told = project.rbuild(["check"]).failure(2);
    assert!(told.contains("`push` sends an image to its `tags`, and there are none"), "{told}");
}

#[test]
fn a_config_that_is_wrong_is_told_with_its_line() {
    let spec = "version = 1\n[source.a]\nimage = 'localhost:1/a'\n[step.s]\nfrom = 'a'\n";
    let project =
        Project::new(spec).file("home/rbuild/config.toml", "[registries.'localhost:1']\nmirror = ['x']\n");
    let apply = || {
        let mut command = project.command();
        command.args(["apply", "s"]).env("XDG_CONFIG_HOME", project.path("home"));
        project.output("rbuild apply".to_owned(), &command.output().expect("rbuild"))
    };
    let told = apply().failure(3);
    for part in ["error[registry-failed]: ", "config.toml", "line 2", "unknown field `mirror`"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // One that can't be read is no missing one: its mirrors and CAs would be gone without a word.
    std::fs::remove_file(project.path("home/rbuild/config.toml")).expect("the file");
    std::fs::create_dir(project.path("home/rbuild/config.toml")).expect("a folder");
    assert!(apply().failure(3).contains("config.toml"));
}

/// The tags of a file depend on the values of its variables; an image has those it was built with.
#[test]
fn sandbox_an_image_is_not_pushed_by_tags_it_was_not_built_with() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let registry = Registry::start();
    let project = busybox(&format!(
        "[vars]\ntag = '1'\n[step.it]\nfrom = 'base'\nfiles = [{{ path = '/v', content = '${{tag}}', expand = true }}]\n\
         [image.app]\nfrom = 'it'\ntags = ['{}/app:${{tag}}']\noutput = []\n",
        registry.host
    ));
    project.rbuild(["apply", "--set", "tag=2"]).success();
    let told = project.rbuild(["push", "app"]).failure(2);
    let (built, now) = (format!("{}/app:2", registry.host), format!("{}/app:1", registry.host));
    assert!(told.contains(&format!("{built}, not {now}")) && told.contains("say where: "), "{told}");
    project.rbuild(["push", "app", "--set", "tag=2"]).success();
    assert!(registry.digest("app:2").starts_with("sha256:"));
}

#[test]
fn sandbox_what_was_pushed_before_a_failure_is_told() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let (registry, other) = (Registry::start(), Registry::for_user("me", "word"));
    let project = busybox("[step.it]\nfrom = 'base'\n[image.app]\nfrom = 'it'\noutput = []\n");
    project.build();
    let (first, second) = (format!("{}/app:1", registry.host), format!("{}/app:1", other.host));
    let pushed = project.rbuild(["push", "app", &first, &second, "localhost:1/third"]);
    assert!(pushed.stdout.starts_with(&first), "{pushed}");
    let told = pushed.failure(3);
    assert!(told.contains("hint: not tried after this: localhost:1/third"), "{told}");
}

/// More than an overlayfs could stack.
#[test]
fn sandbox_an_image_of_many_layers_is_what_was_built() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let registry = Registry::start();
    let step = |n: u32| {
        let from = if n == 1 { "base".to_owned() } else { format!("s{}", n - 1) };
        format!(
            "[step.s{n}]\nfrom = '{from}'\nfiles = [{{ path = '/f{n}', content = '{n}' }}, {{ path = '/last', content = '{n}' }}]\n"
        )
    };
    let steps: String = (1..=150).map(step).collect();
    let image = "[image.many]\nfrom = 's150'\nlayers = 'steps'\noutput = [{ oci = 'dist' }]\n";
    let maker = busybox(&(steps + image));
    maker.build();
    assert!(maker.layout("dist").layers("latest").len() > 140);
    registry.push(&maker.path("dist"), "latest", "many:1");
    let project = Project::new(&format!(
        "version = 1\n[source.many]\nimage = '{}/many:1'\n[step.it]\nfrom = 'many'\n",
        registry.host
    ));
    project.rbuild(["apply", "it"]).success();
    assert_eq!(project.tree("it"), maker.tree("s150"));
}
