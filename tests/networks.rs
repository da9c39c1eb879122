//! Base images through a network that is not as it should be. (What the client makes of faults by itself is tested in
//! its crate.)

use crate::support::{Project, busybox, registry::Registry, spoiler::Spoiler};

/// An image with two small layers, and one between them that takes a few reads.
fn seed(registry: &Registry, compress: &str) -> Project {
    let maker = busybox(
        &"[step.large]\nfrom = 'base'\ncopy = [{ from = 'code', src = '/large', dest = '/large' }]\n\
         [source.code]\npath = 'code'\n\
         [step.top]\nfrom = 'large'\nfiles = [{ path = '/top', content = 'x' }]\n\
         [image.root]\nfrom = 'top'\ncompress = 'COMPRESS'\noutput = [{ oci = 'dist' }]\n"
            .replace("COMPRESS", compress),
    );
    let number = |at: u32| (u64::from(at) * 2_654_435_761 % 4_294_967_296).to_string();
    maker.write("code/large", (0..900_000).map(number).collect::<Vec<_>>().join("\n"));
    maker.build();
    registry.push(&maker.path("dist"), "latest", "test/base:1");
    maker
}

fn user(registry: &Registry, mirror: &Spoiler) -> Project {
    let spec = format!(
        "version = 1\n[source.base]\nimage = '{}/test/base:1'\n[image.it]\nfrom = 'base'\noutput = [{{ oci = 'dist' }}]\n",
        registry.host
    );
    let config = format!("[registries.'{}']\nmirrors = ['http://{}']\n", registry.host, mirror.host);
    Project::new(&spec).file("home/rbuild/config.toml", config)
}

/// Bytes that make no sense as gzip are asked for again, not only those whose digest is another.
#[test]
fn sandbox_a_layer_that_comes_damaged_comes_again() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let registry = Registry::start();
    let maker = seed(&registry, "gzip");
    let layers = maker.layout("dist").layers("latest");
    let mirror = Spoiler::start(&registry.host, &layers[1], 1);
    let project = user(&registry, &mirror);
    let environment = project.path("home").display().to_string();
    project.rbuild_with(&[("XDG_CONFIG_HOME", &environment)], ["apply"]).success();
    assert_eq!(mirror.spoiled(), 1);
    assert_eq!(project.layout("dist").layers("latest"), layers);
    project.layout("dist").check("latest");
    let listing = project.rbuild(["inspect", "--tree", "source.base"]).success();
    assert!(listing.contains(" /large") && listing.contains(" /top"), "{listing}");
}
/// What comes damaged every time is asked for a few times and not for ever.
#[test]
fn sandbox_a_layer_that_is_always_damaged_is_told() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let registry = Registry::start();
    // In plain bytes nothing looks wrong until all of them are there.
    let layer = seed(&registry, "none").layout("dist").layers("latest")[1].clone();
    let spoiler = Spoiler::start(&registry.host, &layer, usize::MAX);
    let project = Project::new(&format!(
        "version = 1\n[source.base]\nimage = '{}/test/base:1'\n[step.it]\nfrom = 'base'\n",
        spoiler.host
    ))
    .file("home/rbuild/config.toml", format!("[registries.'{}']\nhttp = true\n", spoiler.host));
    let environment = project.path("home").display().to_string();
    let told = project.rbuild_with(&[("XDG_CONFIG_HOME", &environment)], ["apply", "it"]).failure(3);
    assert!(told.contains("error[digest-mismatch]: build.toml:2:9: source `base`: "), "{told}");
    assert!(told.contains(&layer) && told.contains("its digest is sha256:"), "{told}");
    assert_eq!(spoiler.spoiled(), 3, "{told}");
}

/// What was kept of an image for another machine is not enough to build from, and nobody may be asked.
#[test]
fn sandbox_half_an_image_is_not_asked_for_offline() {
    needs!(fuse, busybox, "docker-registry", "skopeo");
    let registry = Registry::start();
    let maker = seed(&registry, "gzip");
    let mirror = Spoiler::start(&registry.host, "nothing", 0);
    let project = user(&registry, &mirror);
    project.rbuild(["update"]).success();
    let digest = maker.layout("dist").digest("latest");
    let blob = project.store().join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    std::fs::create_dir_all(blob.parent().expect("a folder")).expect("a folder of the store");
    std::fs::write(blob, maker.layout("dist").raw_manifest("latest")).expect("the manifest alone");
    drop(registry);
    let told = project.rbuild(["apply", "--offline"]).failure(3);
    assert!(told.contains("error[offline]: ") && !told.contains("trying again"), "{told}");
}
