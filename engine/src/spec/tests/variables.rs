//! Variables: where values come from, and where they go.

use super::{codes, load_text};
use crate::spec::{Inputs, Loaded, Platform, Spec, types::Run, words::EnvPart};

const LABELLED: &str =
    "version = 1\n[image.a]\nfrom = \"scratch\"\nconfig = { labels = { l = \"LABEL\" } }\n[vars]\n";

fn label(vars: &str, text: &str, inputs: &Inputs) -> Result<String, String> {
    let file = LABELLED.replace("LABEL", text) + vars;
    match load_text("build.toml", &file, inputs) {
        Ok(loaded) => Ok(loaded.spec.images["a"].config.labels["l"].clone().unwrap()),
        Err(diagnostics) => Err(diagnostics.list[0].message.clone()),
    }
}

fn set(pairs: &[(&str, &str)]) -> Inputs {
    let set = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Inputs { set, ..Inputs::default() }
}

fn spec(text: &str) -> Spec {
    load_text("build.toml", text, &Inputs::default()).unwrap_or_else(|wrong| panic!("{wrong}")).spec
}

#[test]
fn the_first_of_set_file_environment_default() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("a.yaml");
    let second = folder.path().join("b.toml");
    std::fs::write(&first, "v: first").unwrap();
    std::fs::write(&second, "v = 'second'").unwrap();
    let vars = "v = { default = 'default', env = 'V' }\n";
    let mut inputs = Inputs::default();
    assert_eq!(label(vars, "${v}", &inputs).unwrap(), "default");
    inputs.environment.insert("V".to_owned(), "environment".to_owned());
    assert_eq!(label(vars, "${v}", &inputs).unwrap(), "environment");
    inputs.vars_files.push(first);
    assert_eq!(label(vars, "${v}", &inputs).unwrap(), "first");
    inputs.vars_files.push(second);
    assert_eq!(label(vars, "${v}", &inputs).unwrap(), "second");
    inputs.set.push(("v".to_owned(), "set".to_owned()));
    inputs.set.push(("v".to_owned(), "set again".to_owned()));
    assert_eq!(label(vars, "${v}", &inputs).unwrap(), "set again");
}

#[test]
fn given_values_have_the_type_that_is_declared() {
    for (vars, given, text) in [
        ("v = 1", "2", "2"),
        ("v = true", "false", "false"),
        ("v = 'x'", "1", "1"),
        ("v = { type = 'integer' }", "-3", "-3"),
        ("v = { one-of = [1, 2] }", "2", "2"),
        ("v = { default = '${w}' }\nw = 1", "5", "5"),
    ] {
        assert_eq!(label(vars, "${v}", &set(&[("v", given)])).as_deref(), Ok(text), "{vars}");
    }
    for (vars, given) in [
        ("v = 1", "x"),
        ("v = true", "yes"),
        ("v = { one-of = [1, 2] }", "3"),
        ("v = { one-of = ['a'] }", "b"),
        ("v = { default = '1.0', pattern = '[0-9]*' }", "x1"),
        ("v = { default = 'a', pattern = 'a' }", "../a"),
        ("v = { default = '${w}' }\nw = 1", "x"),
    ] {
        assert!(label(vars, "${v}", &set(&[("v", given)])).is_err(), "{vars} {given}");
    }
}

#[test]
fn what_is_undeclared_is_told() {
    let told = label("tag = 'x'", "${tag}", &set(&[("tga", "1")])).unwrap_err();
    assert_eq!(told, "--set tga: the file declares no variable `tga`");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.toml");
    std::fs::write(&path, "other = 1").unwrap();
    let inputs = Inputs { vars_files: vec![path, folder.path().join("no.toml")], ..Inputs::default() };
    let wrong = load_text("build.toml", "version = 1\n", &inputs).unwrap_err();
    assert_eq!(codes(&wrong), ["unreadable", "unknown-variable"]);
}

#[test]
fn names_that_are_always_there() {
    let platform = Platform { os: "linux".into(), architecture: "arm".into(), variant: Some("v7".into()) };
    let inputs = Inputs { platform, ..Inputs::default() };
    let text =
        "${platform} ${platform.os} ${platform.arch} ${platform.variant} ${platform.uname} $$ $ $${v} $v";
    assert_eq!(label("", text, &inputs).unwrap(), "linux/arm/v7 linux arm v7 armv7l $ $ ${v} $v");
}

#[test]
fn arrays_come_from_the_command_line_with_commas() {
    let text = "version = 1\n[vars]\np = ['/a']\n[step.s]\nremove = '${p}'\n[image.s]\nfrom = 's'\n";
    for (given, expected) in [("/b,/c", vec!["/b", "/c"]), ("", vec![]), ("/d", vec!["/d"])] {
        let loaded = load_text("build.toml", text, &set(&[("p", given)])).unwrap();
        let removed: Vec<&str> = loaded.spec.steps["s"].body.remove.iter().map(|one| one.as_str()).collect();
        assert_eq!(removed, expected);
    }
}

#[test]
fn scripts_and_contents_keep_their_dollars() {
    let spec = spec(
        "version = 1\n[vars]\nv = 'x'\n[step.s]\nrun = 'echo ${v} $$'\n[step.t]\nfrom = 's'\nrun = ['echo', '${v}', '$$']\n\
         files = [{ path = '/a', content = '${v} $$' }, { path = '/b', content = '${v} $$', expand = true }]\n\
         [image.t]\nfrom = 't'\n",
    );
    let run = |name: &str| spec.steps[name].body.run.clone().unwrap().value;
    assert_eq!(run("s"), Run::Script("echo ${v} $$".into()));
    assert_eq!(run("t"), Run::Command(vec!["echo".into(), "x".into(), "$".into()]));
    let files: Vec<&str> = spec.steps["t"].body.files.iter().map(|file| file.content.as_str()).collect();
    assert_eq!(files, ["${v} $$", "x $"]);
}

#[test]
fn inherited_values_stay_templates() {
    let spec = spec(
        "version = 1\n[vars]\nv = '/x'\n[step.s]\nenv = { PATH = '${v}:${env.PATH}', A = '${env.B}', C = '$${env.D}' }\n\
         config = { env = { PATH = '${env.PATH}:${v}' } }\n[image.s]\nfrom = 's'\n",
    );
    let body = &spec.steps["s"].body;
    let parts = |value: &str| body.env[value].clone().unwrap().value.parts;
    assert_eq!(parts("PATH"), [EnvPart::Text("/x:".into()), EnvPart::Inherited("PATH".into())]);
    assert_eq!(parts("A"), [EnvPart::Inherited("B".into())]);
    assert_eq!(parts("C"), [EnvPart::Text("${env.D}".into())]);
    assert_eq!(body.config.env["PATH"].clone().unwrap().to_string(), "${env.PATH}:/x");
}

/// With `one-of`, what some other value of the variable would use counts as used.
#[test]
fn used_for_some_value_is_used() {
    let text = |vars: &str| {
        format!(
            "version = 1\n[vars]\n{vars}\n[step.base-a]\n[step.base-b]\n[image.i]\nfrom = 'base-${{v}}'\n"
        )
    };
    let warnings = |vars: &str| {
        let Loaded { warnings, .. } = load_text("build.toml", &text(vars), &Inputs::default()).unwrap();
        warnings.list.iter().map(|one| one.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(warnings("v = { default = 'a', one-of = ['a', 'b'] }"), Vec::<String>::new());
    assert_eq!(warnings("v = 'a'"), ["step `base-b` is not used"]);
}

#[test]
fn values_never_change_the_shape_of_the_file() {
    let hostile = "x\"\n[step.evil]\nrun = \"rm\"";
    assert_eq!(label("v = 'a'", "${v}", &set(&[("v", hostile)])).unwrap(), hostile);
    assert_eq!(label("v = 'a'", "${v}", &set(&[("v", "${w} $$")])).unwrap(), "${w} $$");
}

#[test]
fn variables_that_double_one_another_are_stopped() {
    let mut vars = String::from("v40 = 'x'\n");
    for number in 0..40 {
        vars += &format!("v{number} = '${{v{0}}}${{v{0}}}'\n", number + 1);
    }
    let file = LABELLED.replace("LABEL", "${v0}") + &vars;
    let wrong = load_text("build.toml", &file, &Inputs::default()).unwrap_err();
    assert_eq!(codes(&wrong), ["bad-value"], "{wrong}");
    assert_eq!(wrong.list[0].message, "variables become more than 16 MiB of text");
    assert!(!wrong.list[0].labels.is_empty());
}

#[test]
fn a_variable_that_stands_only_where_nothing_is_replaced_says_so() {
    let hints = |step: &str| {
        let text = format!("version = 1\n[vars]\nv = 'x'\n[step.s]\n{step}\n[image.s]\nfrom = 's'\n");
        load_text("build.toml", &text, &Inputs::default()).unwrap().warnings.list[0].help.clone()
    };
    for run in ["echo ${v}", "echo $v", "echo $v-$vv"] {
        assert!(hints(&format!("run = '{run}'"))[0].contains("env = { v = \"${v}\" }"), "{run}");
    }
    assert!(hints("files = [{ path = '/x', content = '${v}' }]")[0].contains("expand = true"));
    for step in ["run = 'echo $vv'", "run = 'echo v'"] {
        assert_eq!(hints(step), [""; 0], "{step}");
    }
}

#[test]
fn an_array_in_brackets_is_no_array() {
    let text = "version = 1\n[vars]\np = ['/a']\n[step.s]\nremove = '${p}'\n[image.s]\nfrom = 's'\n";
    let told = load_text("build.toml", text, &set(&[("p", "[\"/b\"]")])).unwrap_err();
    assert!(told.list[0].message.contains("with commas and without brackets"), "{told}");
}
