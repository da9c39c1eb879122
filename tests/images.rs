//! Images: how they are layered, what their layers and their config say, and which tests stand before them.

use crate::support::{Project, busybox};
use serde_json::json;
use std::fs;

/// A base and four steps: one removes, one adds again, one does nothing, one changes metadata.
pub const CHAIN: &str = r#"version = 1
epoch = 1764000000
[step.base]
dirs = [{ path = "/d/sub" }]
files = [
  { path = "/d/a", content = "a" },
  { path = "/d/sub/b", content = "b" },
  { path = "/gone", content = "g" },
  { path = "/keep", content = "k" },
]
[step.cut]
from = "base"
remove = ["/d", "/gone"]
[step.again]
from = "cut"
files = [{ path = "/d/new", content = "n" }]
[step.nothing]
from = "again"
dirs = [{ path = "/d" }]
[step.top]
from = "nothing"
attrs = [{ path = "/keep", mode = "0600" }, { path = "/d", mode = "0700" }]
"#;

/// The names in each layer of an image with this value of `layers`, and its history.
fn layered(layers: &str) -> (Vec<Vec<String>>, Vec<String>) {
    let image = format!("[image.out]\nfrom = \"top\"\nlayers = {layers}\noutput = [{{ oci = \"dist\" }}]\n");
    let project = Project::new(&format!("{CHAIN}{image}"));
    project.rbuild(["apply"]).success();
    let layout = project.layout("dist");
    layout.check("latest");
    (layout.names("latest"), layout.history("latest"))
}

#[test]
fn a_layer_a_step() {
    let (layers, history) = layered("\"steps\"");
    let expected: [&[&str]; 4] = [
        &["./", "d/", "d/a", "d/sub/", "d/sub/b", "gone", "keep"],
        &[".wh.d", ".wh.gone"],
        &["d/", "d/new"],
        &["d/", "keep"],
    ];
    assert_eq!(layers, expected);
    assert_eq!(history, ["rbuild base", "rbuild cut", "rbuild again", "(rbuild nothing)", "rbuild top"]);
}

#[test]
fn one_layer_in_all() {
    let (layers, history) = layered("\"squash\"");
    assert_eq!(layers, [["./", "d/", "d/new", "keep"]]);
    assert_eq!(history, ["rbuild top"]);
}

#[test]
fn the_base_and_one_layer() {
    let (layers, history) = layered("\"base+1\"");
    // What is removed comes before what is there.
    let top = [".wh.gone", "d/", "d/.wh.a", "d/.wh.sub", "d/new", "keep"];
    assert_eq!(layers[1..], [top]);
    assert_eq!((layers.len(), layers[0].len()), (2, 7));
    assert_eq!(history, ["rbuild base", "rbuild top"]);
}

#[test]
fn layers_end_where_it_is_said() {
    let (layers, history) = layered("[\"cut\"]");
    assert_eq!(layers, [vec!["./", "keep"], vec!["d/", "d/new", "keep"]]);
    assert_eq!(history, ["rbuild cut", "rbuild top"]);
}

/// Every way to layer an image gives the same tree, so the last layers differ and nothing else does.
#[test]
fn a_layer_over_a_merge_is_one() {
    let spec = format!(
        r#"{CHAIN}
[step.left]
from = "base"
files = [{{ path = "/left/l", content = "l" }}]
[step.right]
from = "base"
files = [{{ path = "/right/r", content = "r" }}]
remove = ["/gone"]
[step.both]
merge = ["left", "right"]
[image.out]
from = "both"
output = [{{ oci = "dist" }}]
"#
    );
    let project = Project::new(&spec);
    project.rbuild(["apply"]).success();
    let names = project.layout("dist").names("latest");
    assert_eq!(names[1..], [[".wh.gone", "left/", "left/l", "right/", "right/r"]]);
}

/// What the second layer of an image holds whose base is `base` and whose last step `step` says this.
#[track_caller]
fn second_layer(base: &str, step: &str) -> Vec<String> {
    let spec = format!(
        "version = 1\n[step.base]\n{base}\n[step.top]\nfrom = \"base\"\n{step}\n[step.pieces]\n\
         files = [{{ path = \"/file\", content = \"new\" }}, {{ path = \"/dir/new\", content = \"new\" }}]\n\
         [image.out]\nfrom = \"top\"\noutput = [{{ oci = \"dist\" }}]\n"
    );
    let project = Project::new(&spec);
    project.rbuild(["apply"]).success();
    let layout = project.layout("dist");
    layout.check("latest");
    let mut names = layout.names("latest");
    assert!(names.len() < 3, "{names:?}");
    if names.len() == 2 { names.remove(1) } else { Vec::new() }
}

#[test]
fn a_layer_says_what_changed_and_no_more() {
    let base = r#"files = [
      { path = "/d/a", content = "a" }, { path = "/d/b", content = "b" }, { path = "/d/sub/c", content = "c" },
      { path = "/f", content = "f" },
    ]
    links = [{ path = "/l", target = "d" }, { path = "/two", target = "/f", hard = true }]"#;
    let replaced = "copy = [{ from = \"pieces\", src = \"/file\", dest = \"/d\", replace = true }]";
    let table: &[(&str, &[&str])] = &[
        ("remove = [\"/d/a\"]", &["d/", "d/.wh.a"]),
        // One for a directory, whatever was in it.
        ("remove = [\"/d\"]", &[".wh.d"]),
        // One for each, and the directory stays.
        ("remove = [\"/d/*\"]", &["d/", "d/.wh.a", "d/.wh.b", "d/.wh.sub"]),
        // A link, not what it points to.
        ("remove = [\"/l\"]", &[".wh.l"]),
        // What the base never had leaves no trace.
        ("files = [{ path = \"/passing\", content = \"\" }]\nremove = [\"/passing\"]", &[]),
        (
            "files = [{ path = \"/f\", content = \"f\" }]\nlinks = [{ path = \"/two\", target = \"/f\", hard = true }]",
            &[],
        ),
        // A file for a directory, a directory for a file and for a link.
        (replaced, &["d"]),
        ("copy = [{ from = \"pieces\", src = \"/dir/\", dest = \"/f\", replace = true }]", &["f/", "f/new"]),
        ("copy = [{ from = \"pieces\", src = \"/dir/\", dest = \"/l\", replace = true }]", &["l/", "l/new"]),
        ("links = [{ path = \"/f\", target = \"d\" }]", &["f"]),
        // The same name anew, without its old children.
        (
            "copy = [{ from = \"pieces\", src = \"/dir/\", dest = \"/d\", replace = true }]",
            &["d/", "d/.wh.a", "d/.wh.b", "d/.wh.sub", "d/new"],
        ),
        // Metadata alone: of a directory without its children, of a file with its bytes.
        ("attrs = [{ path = \"/d\", mode = \"0700\" }]", &["d/"]),
        ("attrs = [{ path = \"/d/b\", owner = \"5\" }]", &["d/", "d/b"]),
        ("attrs = [{ path = \"/d/b\", capabilities = \"cap_chown+ep\" }]", &["d/", "d/b"]),
        // Both names of a file change with it.
        ("attrs = [{ path = \"/f\", mode = \"0600\" }]", &["f", "two"]),
        ("attrs = [{ path = \"/d\", mode = \"0755\" }, { path = \"/d/a\", owner = \"root\" }]", &[]),
    ];
    for (step, layer) in table {
        assert_eq!(second_layer(base, step), *layer, "{step}");
    }
}

#[test]
fn a_name_that_would_be_a_whiteout_is_refused() {
    let spec = "version = 1\n[step.root]\nfiles = [{ path = \"/d/.wh.name\", content = \"\" }]\n\
                [image.out]\nfrom = \"root\"\noutput = [{ oci = \"dist\" }]\n";
    let project = Project::new(spec);
    let output = project.rbuild(["apply"]);
    assert_ne!(output.code, Some(0), "{output}");
    assert!(output.stderr.contains("/d/.wh.name"), "{output}");
    assert!(!project.path("dist/index.json").exists());
}

/// A spec whose image `base` is written to the layout `base`.
const BASE: &str = r#"version = 1
epoch = 1764000000
[step.one]
files = [{ path = "/one", content = "1" }]
config = { env = { FROM_STEP = "1" }, labels = { a = "step", b = "step" } }
[step.two]
from = "one"
files = [{ path = "/two", content = "2" }]
remove = ["/one"]
[step.idle]
from = "two"
[image.base]
from = "idle"
tags = ["base:1"]
compress = "COMPRESS"
output = [{ oci = "base" }]

[image.base.config]
entrypoint = ["/two", "x"]
cmd = ["y"]
user = "1:2"
workdir = "/work"
stop-signal = "SIGINT"
shell = ["/bin/ash", "-c"]
healthcheck = { test = ["CMD", "/two"], interval = "5s" }
ports = ["80/tcp"]
volumes = ["/data"]
env = { A = "a", B = "b" }
labels = { b = "image" }
"#;

/// A project with that layout, and the image `out` made of it by these lines.
#[track_caller]
fn over_base(compress: &str, lines: &str) -> Project {
    let spec = format!("version = 1\nepoch = 1764000000\n[source.base]\noci = \"base:1\"\n{lines}");
    let project = Project::new(&spec).file("base.toml", BASE.replace("COMPRESS", compress));
    project.rbuild(["apply", "-f", "base.toml"]).success();
    project.rbuild(["apply"]).success();
    project
}

#[test]
fn layers_of_a_base_stay_byte_for_byte() {
    let lines = r#"
[step.more]
from = "base"
files = [{ path = "/three", content = "3" }]
[image.same]
from = "base"
tags = ["x:same"]
output = [{ oci = "dist" }]
[image.more]
from = "more"
tags = ["x:more"]
output = [{ oci = "dist" }]
[image.two]
from = "more"
tags = ["x:two"]
layers = "base+1"
compress = "zstd"
output = [{ oci = "dist" }]
[image.squashed]
from = "more"
tags = ["x:squashed"]
layers = "squash"
output = [{ oci = "dist" }]
"#;
    for compress in ["gzip", "zstd", "none"] {
        let project = over_base(compress, lines);
        let (base, made) = (project.layout("base"), project.layout("dist"));
        let below = base.layers("1");
        assert_eq!(below.len(), 2);
        assert_eq!(made.layers("same"), below, "{compress}");
        for (reference, layers) in [("more", 3), ("two", 3), ("squashed", 1)] {
            made.check(reference);
            let of_this = made.layers(reference);
            assert_eq!(of_this.len(), layers, "{compress}: {reference}");
            assert_eq!(of_this.starts_with(&below), reference != "squashed", "{compress}: {reference}");
        }
        assert_eq!(base.history("1"), ["rbuild one", "rbuild two", "(rbuild idle)"]);
        assert_eq!(made.history("more"), ["rbuild one", "rbuild two", "(rbuild idle)", "rbuild more"]);
        assert_eq!(made.names("squashed"), [["./", "three", "two"]]);
        assert_eq!(
            made.manifest("two")["layers"][2]["mediaType"],
            "application/vnd.oci.image.layer.v1.tar+zstd"
        );
    }
}

/// Nothing of rbuild's own store is needed: the layout may come from elsewhere.
#[test]
fn a_base_is_read_with_an_empty_store() {
    let project = over_base("gzip", "[image.out]\nfrom = \"base\"\noutput = [{ oci = \"dist\" }]\n");
    let first = project.layout("dist").digest("latest");
    for folder in [project.store(), project.path("dist")] {
        fs::remove_dir_all(folder).expect("a folder of the project");
    }
    project.rbuild(["apply"]).success();
    assert_eq!(project.layout("dist").digest("latest"), first);
}

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The config of `out`, made over the base with this step config and this image config.
fn config(step: &str, image: &str) -> serde_json::Value {
    let lines = format!(
        "[step.top]\nfrom = \"base\"\nconfig = {{ {step} }}\n\
         [image.out]\nfrom = \"top\"\nconfig = {{ {image} }}\noutput = [{{ oci = \"dist\" }}]\n"
    );
    over_base("none", &lines).layout("dist").configuration("latest")["config"].take()
}

#[test]
fn config_is_inherited_whole() {
    let inherited = json!({
        "Entrypoint": ["/two", "x"], "Cmd": ["y"], "User": "1:2", "WorkingDir": "/work", "StopSignal": "SIGINT",
        "Shell": ["/bin/ash", "-c"], "Healthcheck": { "Test": ["CMD", "/two"], "Interval": 5_000_000_000_u64 },
        "ExposedPorts": { "80/tcp": {} }, "Volumes": { "/data": {} },
        "Env": [PATH, "FROM_STEP=1", "A=a", "B=b"], "Labels": { "a": "step", "b": "image" },
    });
    assert_eq!(config("", ""), inherited);
}

#[test]
fn config_is_replaced_added_to_and_reset() {
    let steps = config(
        "cmd = [\"z\"], env = { B = false, C = \"c\" }",
        "env = { C = \"d\", A = \"${env.A}${env.FROM_STEP}\" }",
    );
    assert_eq!(steps["Entrypoint"], json!(["/two", "x"]));
    assert_eq!(steps["Cmd"], json!(["z"]));
    let mut env: Vec<&str> =
        steps["Env"].as_array().into_iter().flatten().filter_map(|line| line.as_str()).collect();
    env.sort_unstable();
    assert_eq!(env, ["A=a1", "C=d", "FROM_STEP=1", PATH]);

    // Setting the entrypoint empties the inherited cmd, not the one beside it.
    let entrypoint = config("entrypoint = [\"/two\"]", "");
    assert_eq!((&entrypoint["Entrypoint"], &entrypoint["Cmd"]), (&json!(["/two"]), &json!(null)));
    let both = config("", "entrypoint = [\"/two\"], cmd = [\"w\"]");
    assert_eq!((&both["Entrypoint"], &both["Cmd"]), (&json!(["/two"]), &json!(["w"])));

    let sets = config("ports = [\"53/udp\"]", "volumes = [\"/more\"], labels = { a = false, c = \"1\" }");
    assert_eq!(sets["ExposedPorts"], json!({ "53/udp": {}, "80/tcp": {} }));
    assert_eq!(sets["Volumes"], json!({ "/data": {}, "/more": {} }));
    assert_eq!(sets["Labels"], json!({ "b": "image", "c": "1" }));

    let empty = r#"entrypoint = [], user = "", workdir = "", stop-signal = "", shell = []"#;
    let reset = config(empty, "");
    for field in ["Entrypoint", "Cmd", "User", "WorkingDir", "StopSignal", "Shell"] {
        assert!(
            matches!(reset[field].as_str(), None | Some("")) && !reset[field].is_array(),
            "{field}: {reset}"
        );
    }
    assert_eq!(reset["ExposedPorts"], json!({ "80/tcp": {} }));

    let anew = config("env = { X = \"x\" }", "inherit = false, user = \"5\"");
    assert_eq!(anew, json!({ "User": "5", "Env": [PATH] }));
}

#[test]
fn annotations_times_and_platform() {
    let image = r#"
[image.out]
from = "top"
annotations = { "org.opencontainers.image.description" = "all \"of\" it", z = "" }
output = [{ oci = "dist" }]
"#;
    let project = Project::new(&format!("{CHAIN}{image}"));
    project.rbuild(["apply"]).success();
    let layout = project.layout("dist");
    let manifest = layout.manifest("latest");
    let annotations = json!({ "org.opencontainers.image.description": "all \"of\" it", "z": "" });
    assert_eq!(manifest["annotations"], annotations);
    let configuration = layout.configuration("latest");
    assert_eq!(configuration["created"], "2025-11-24T16:00:00Z");
    assert_eq!(configuration["history"][0]["created"], "2025-11-24T16:00:00Z");
    assert_eq!(configuration["os"], "linux");
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
}

#[test]
fn an_image_of_nothing_and_an_image_of_a_part() {
    let spec = r#"version = 1
[step.root]
files = [{ path = "/app/bin/run", content = "" }]
[image.nothing]
from = "scratch"
tags = ["x:nothing"]
output = [{ oci = "dist" }]
[image.part]
from = "root:/app"
tags = ["x:part"]
output = [{ oci = "dist" }]
"#;
    let project = Project::new(spec);
    project.rbuild(["apply"]).success();
    let layout = project.layout("dist");
    layout.check("nothing");
    assert_eq!(layout.layers("nothing"), [""; 0]);
    assert_eq!(layout.names("part"), [["./", "bin/", "bin/run"]]);
}

#[test]
fn sandbox_an_image_is_written_only_if_its_tests_pass() {
    needs!(userns, fuse, busybox);
    let steps = r#"
[step.root]
from = "base"
files = [{ path = "/answer", content = "42" }]
[test.named-by-the-image]
from = "root"
run = "test $(cat /answer) = 42"
[test.names-the-image]
image = "out"
run = "test $(cat /answer) = ANSWER"
[image.out]
from = "root"
tests = ["named-by-the-image"]
output = [{ oci = "dist/out" }, { tar = "dist/out.tar" }]
[image.other]
from = "root"
output = [{ oci = "dist/other" }]
"#;
    let project = crate::support::busybox(&steps.replace("ANSWER", "43"));
    let told = project.rbuild(["apply", "--keep-going"]).failure(1);
    assert!(told.contains("test-failed") && told.contains("names-the-image"), "{told}");
    assert!(!project.path("dist/out").exists() && !project.path("dist/out.tar").exists());
    // Nobody's test stands before it.
    assert!(project.path("dist/other/index.json").exists());
    project.write_steps(&steps.replace("ANSWER", "42"));
    project.rbuild(["apply"]).success();
    project.layout("dist/out").check("latest");
    // What a test leaves behind is thrown away.
    project.write_steps(&steps.replace("test $(cat /answer) = ANSWER", "rm /answer; exit 3"));
    let before = project.layout("dist/out").digest("latest");
    project.rbuild(["apply", "image.out"]).failure(1);
    assert_eq!(project.layout("dist/out").digest("latest"), before);
}

#[test]
fn sandbox_what_is_left_out_of_a_folder_is_told() {
    needs!(fuse, busybox);
    let project = busybox(
        "[step.it]\nfrom = 'base'\nrun = 'mkdir /out; mkfifo /out/pipe; touch /out/file'\n\
         [artifact.a]\nfrom = 'it'\npath = '/out'\ndest = 'a'\n\
         [image.i]\nfrom = 'it:/out'\noutput = [{ dir = 'i' }]\n",
    );
    for target in ["artifact.a", "image.i"] {
        let told = project.rbuild(["apply", target]);
        assert_eq!(told.code, Some(0), "{told}");
        let start = format!("warning[special-file]: {target}: ");
        let lines = told.stderr.lines().filter(|line| line.starts_with(&start));
        assert_eq!(lines.filter(|line| line.contains("pipe is a fifo and is left out")).count(), 1, "{told}");
    }
}

/// Nothing else of this build is empty: not even the log.
#[test]
fn sandbox_an_empty_file_is_in_its_image() {
    needs!(fuse, busybox);
    let project = busybox(
        "[step.empty]\nfrom = 'base'\nrun = 'echo made; : > /empty'\n[image.app]\nfrom = 'empty'\noutput = [{ oci = 'dist' }]\n",
    );
    project.build();
    let layout = project.layout("dist");
    layout.check("latest");
    assert_eq!(layout.names("latest").last().expect("a layer"), &["empty"]);
}
