//! Images from place to place: what arrives is what there was, byte for byte.

use crate::support::{Project, busybox, registry::Registry};
use serde_json::{Value, json};
use std::{fs, process::Command};

const TWO: &str = "[step.it]\nfrom = 'base'\nfiles = [{ path = '/x', content = 'x' }]\n\
    [image.app]\nfrom = 'it'\noutput = [{ oci = 'dist' }]\n";

/// A project with an image in `dist`.
fn maker() -> Project {
    let project = busybox(TWO);
    project.build();
    project
}

/// Puts an index under the name `all` into the layout `dist`: its image twice, for two machines; gives its digest.
fn add_index(project: &Project) -> String {
    let index: Value = serde_json::from_str(&project.read("dist/index.json")).expect("JSON");
    let image = &index["manifests"][0];
    let entry = |architecture: &str| {
        json!({ "mediaType": image["mediaType"], "digest": image["digest"], "size": image["size"],
            "platform": { "os": "linux", "architecture": architecture } })
    };
    let all = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry("amd64"), entry("s390x")] })
    .to_string();
    let digest = rbuild_oci::sha256(all.as_bytes());
    project.write(&format!("dist/blobs/sha256/{}", digest.digest()), &all);
    let mut index = index.clone();
    index["manifests"].as_array_mut().expect("a list").push(json!({
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest.as_ref(), "size": all.len(),
        "annotations": { "org.opencontainers.image.ref.name": "all" } }));
    project.write("dist/index.json", index.to_string());
    digest.to_string()
}

/// What a registry has under a name, by skopeo.
fn raw(registry: &Registry, name: &str) -> Value {
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{}/{name}", registry.host)]);
    serde_json::from_slice(&skopeo.output().expect("skopeo").stdout).expect("a manifest")
}

#[test]
fn sandbox_a_copy_keeps_the_digest_wherever_it_goes() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let (registry, project) = (Registry::start(), maker());
    let digest = project.layout("dist").digest("latest");
    let host = &registry.host;
    let copy = |from: &str, to: &str| project.rbuild(["copy", from, to]).success();
    let told = copy("oci:dist:latest", &format!("{host}/a/app:1"));
    assert_eq!(told, format!("{host}/a/app:1 {digest}: 3 blobs copied, 0 were there\n"));
    assert_eq!(registry.digest("a/app:1"), digest);
    // Its blobs need not be fetched: the registry takes them from the other repository.
    let told = copy(&format!("{host}/a/app:1"), &format!("{host}/b/app:2"));
    assert_eq!(told, format!("{host}/b/app:2 {digest}: 0 blobs copied, 3 were there\n"));
    assert_eq!(registry.digest("b/app:2"), digest);
    copy(&format!("docker://{host}/b/app:2"), "oci-archive:app.tar");
    copy("oci-archive:app.tar:2", "oci:again:name");
    assert_eq!(project.layout("again").digest("name"), digest);
    project.layout("again").check("name");
    let skopeo = Command::new("skopeo")
        .args(["copy", "--quiet", "oci-archive:app.tar:2", "oci:judged:x"])
        .current_dir(project.path("."))
        .status();
    assert!(skopeo.is_ok_and(|status| status.success()));
    assert_eq!(project.layout("judged").digest("x"), digest);
}

#[test]
fn sandbox_a_docker_archive_gets_a_manifest_and_gives_up_its_own() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let (registry, project) = (Registry::start(), maker());
    let name = format!("{}/app:1", registry.host);
    project.rbuild(["copy", "oci:dist", "docker-archive:app.tar:app:1"]).success();
    project.rbuild(["copy", "docker-archive:app.tar", &name]).success();
    let (there, here) = (raw(&registry, "app:1"), project.layout("dist").manifest("latest"));
    assert_eq!(there["config"]["digest"], here["config"]["digest"], "the id of docker");
    project.rbuild(["copy", &format!("docker://{name}"), "oci:back:x"]).success();
    project.layout("back").check("x");
}

#[test]
fn sandbox_an_index_goes_whole_or_for_one_platform() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let (registry, project) = (Registry::start(), maker());
    let (image, index) = (project.layout("dist").digest("latest"), add_index(&project));
    let host = &registry.host;
    project.rbuild(["copy", "oci:dist:all", &format!("{host}/app:all")]).success();
    let there = raw(&registry, "app:all");
    assert_eq!(there["manifests"].as_array().map(Vec::len), Some(2), "{there}");
    assert_eq!(registry.digest(&format!("app@{index}")), index);
    project.rbuild(["copy", &format!("{host}/app:all"), "oci:whole:x"]).success();
    assert!(project.path(&format!("whole/blobs/{}", index.replace(':', "/"))).is_file());
    assert!(project.read("whole/index.json").contains(&index));
    project.rbuild(["copy", "--platform", "linux/s390x", &format!("{host}/app:all"), "oci:one:x"]).success();
    assert_eq!(project.layout("one").digest("x"), image);
    let told =
        project.rbuild(["copy", "--platform", "linux/arm", &format!("{host}/app:all"), "oci:no"]).failure(3);
    assert!(
        told.contains("linux/amd64") && told.contains("linux/s390x") && !project.path("no").exists(),
        "{told}"
    );
    let told = project.rbuild(["copy", "oci:dist:all", "docker-archive:no.tar"]).failure(2);
    assert!(told.contains("is an index") && told.contains("--platform"), "{told}");
}

#[test]
fn sandbox_what_was_pulled_is_there_for_a_build() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let (registry, project) = (Registry::start(), maker());
    let digest = project.layout("dist").digest("latest");
    registry.push(&project.path("dist"), "latest", "app:1");
    let name = format!("{}/app", registry.host);
    let user = Project::new(&format!(
        "version = 1\nepoch = 1\n[source.base]\nimage = '{name}@{digest}'\n\
        [step.s]\nfrom = 'base'\n[artifact.x]\nfrom = 's'\npath = '/x'\ndest = 'out/'\n"
    ));
    user.rbuild(["apply", "--offline"]).failure(3);
    let told = user.rbuild(["pull", &format!("{name}:1")]).success();
    assert_eq!(told, format!("{name}:1 {digest}: 2 layers pulled, 0 were there\n"));
    drop(registry);
    user.rbuild(["apply", "--offline"]).success();
    assert_eq!(user.read("out/x"), "x");
}

#[test]
fn sandbox_what_is_damaged_or_no_place_is_told_and_not_copied() {
    needs!(fuse, busybox);
    let project = maker();
    let layer = project.layout("dist").layers("latest").pop().expect("a layer");
    let blob = project.path(&format!("dist/blobs/{}", layer.replace(':', "/")));
    let mut bytes = fs::read(&blob).expect("the layer");
    *bytes.last_mut().expect("a byte") ^= 1;
    fs::remove_file(&blob).and_then(|()| fs::write(&blob, bytes)).expect("a damaged one");
    let told = project.rbuild(["copy", "oci:dist", "oci:copied"]).failure(3);
    assert!(told.contains("error[digest-mismatch]: dist: blob ") && told.contains(&layer), "{told}");
    assert!(!project.path("copied").exists());
    fs::remove_file(&blob).expect("the layer");
    let told = project.rbuild(["copy", "oci:dist", "oci-archive:copied.tar"]).failure(3);
    assert!(told.contains(&layer) && told.contains("is missing"), "{told}");
    let told = project.rbuild(["copy", "oci:nowhere", "oci:copied"]).failure(3);
    assert!(told.contains("nowhere"), "{told}");
    let told = project.rbuild(["copy", "./dist", "oci:copied"]).failure(2);
    assert!(told.contains("oci:FOLDER"), "{told}");
}

#[test]
fn sandbox_what_is_copied_is_told_as_data_if_wanted() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let (registry, project) = (Registry::start(), maker());
    let (digest, name) = (project.layout("dist").digest("latest"), format!("{}/app:1", registry.host));
    let events = |arguments: &[&str]| -> Vec<Value> {
        let told = project.rbuild(arguments.iter().chain(&["--progress", "json"])).success();
        told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let copied = |place: &str, blobs: u64| json!({ "event": "copied", "place": place, "digest": digest, "blobs": blobs, "present": 3 - blobs });
    let told = events(&["copy", "oci:dist", &name]);
    let (last, before) = told.split_last().expect("events");
    assert_eq!(*last, copied(&name, 3));
    assert!(before.iter().all(|event| event["event"] == "transfer"), "{before:?}");
    assert_eq!(before.last().expect("a transfer")["finished"], true);
    assert_eq!(events(&["push", "app", &name]), [copied(&name, 0)]);
    let pulled = events(&["pull", &name]);
    assert_eq!(pulled.last().expect("events")["digest"], digest.as_str());
    assert_eq!(project.rbuild(["copy", "oci:dist", "oci:b", "--progress", "quiet"]).stderr, "");
}

#[test]
fn sandbox_what_comes_and_what_goes_is_counted() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let (from, to, project) = (Registry::start(), Registry::start(), maker());
    let name = |registry: &Registry| format!("{}/app:1", registry.host);
    project.rbuild(["copy", "oci:dist", &name(&from)]).success();
    let told = project
        .rbuild(["copy", "--store", "other", &name(&from), &name(&to), "--progress", "json"])
        .success();
    let events: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let manifest = project.layout("dist").manifest("latest");
    let sizes = manifest["layers"].as_array().expect("layers").iter().chain([&manifest["config"]]);
    let bytes: u64 = sizes.map(|blob| blob["size"].as_u64().expect("a size")).sum();
    for direction in ["pull", "push"] {
        let ends = |event: &&Value| event["direction"] == direction && event["finished"] == true;
        let end = events.iter().find(ends).unwrap_or_else(|| panic!("{direction}: {told}"));
        let counted = ["bytes", "total-bytes", "blobs", "total-blobs"].map(|key| end[key].as_u64());
        assert_eq!(counted, [Some(bytes), Some(bytes), Some(3), Some(3)], "{direction}: {told}");
    }
}

#[test]
fn sandbox_a_name_without_a_tag_gets_one_in_a_docker_archive() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let (registry, project) = (Registry::start(), maker());
    let name = format!("{}/app", registry.host);
    project.rbuild(["copy", "oci:dist", &name]).success();
    for (from, to, tag) in [
        ("oci:dist", "docker-archive:a.tar:app".to_owned(), "app:latest".to_owned()),
        (&name, "docker-archive:b.tar".to_owned(), format!("{name}:latest")),
    ] {
        project.rbuild(["copy", from, &to]).success();
        let file = to.split(':').nth(1).expect("a file");
        let mut tar = Command::new("tar");
        let listed = tar.args(["-xOf", file, "manifest.json"]).current_dir(project.path("")).output();
        let listed: Value = serde_json::from_slice(&listed.expect("tar").stdout).expect("JSON");
        assert_eq!(listed[0]["RepoTags"], json!([tag]), "{to}");
    }
}

#[test]
fn sandbox_an_image_is_for_its_machine_and_a_place_says_its_kind() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let (registry, project) = (Registry::start(), maker());
    let name = format!("{}/app:1", registry.host);
    project.rbuild(["copy", "oci:dist", &name]).success();
    for command in [&["pull", &name][..], &["copy", &name, "oci:other"]] {
        let told = project.rbuild(command.iter().chain(&["--platform", "linux/s390x"])).failure(3);
        assert!(told.contains(&format!("{name} is for linux/amd64, not for linux/s390x")), "{told}");
    }
    for (command, told) in [
        (&["copy", "dist", "oci:x"][..], "\"dist\" does not say what kind of place it is"),
        (&["copy", &name, "app.tar"], "\"app.tar\" does not say what kind of place it is"),
        (&["copy", "dir:dist", "oci:x"], "`dir:` is no kind of place here"),
        (&["pull", "oci:dist"], "\"oci:dist\" is no image of a registry"),
        (&["push", "app", "oci:dist"], "\"oci:dist\" is no image of a registry"),
    ] {
        let error = project.rbuild(command).failure(2);
        assert!(error.contains(told), "{error}");
    }
}

/// Nobody is asked, and nothing waited for, once Ctrl-C was pressed.
#[test]
fn an_interrupted_pull_says_so() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let name = format!("{}/app:1", silent.local_addr().expect("its port"));
    let project = Project::empty();
    let mut command = project.command();
    command.args(["pull", &name]).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().expect("rbuild can be started");
    let _asked = silent.accept().expect("a request");
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    let told = project.output("rbuild pull".to_owned(), &output).failure(130);
    assert_eq!(told, "error: interrupted\n");
    let kept = project.store().join("tmp").read_dir().map_or(0, Iterator::count);
    assert_eq!(kept, 0, "nothing half-written stays");
}
