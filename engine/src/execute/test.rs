//! Runs a test: a command over a tree or an image, whose changes are thrown away.

use super::{
    Engine,
    failure::{end_text, failure, refused},
    run::{self, Argv, Over, Ran},
    step::{argv, root, warned},
    task::Failure,
};
use crate::{
    container::ContainerConfig,
    error::{Error, Result},
    operations,
    plan::{self, Inputs},
    spec::{
        Span,
        types::{Body, Owner, Reference, Subject, Test},
    },
    store::{Record, Yield},
    value::Content,
};
use rbuild_tree::TreePath;

/// Runs a test over `from` (for an image: what it is made from); `config` is that of the tree or image.
///
/// # Errors
/// `test-failed` with the last lines; whatever keeps the command from running.
pub(super) fn make(
    engine: &Engine,
    test: &Test,
    from: &Reference,
    inputs: &Inputs<'_>,
    config: &ContainerConfig,
) -> std::result::Result<Record, Failure> {
    let mut warnings = Vec::new();
    let ran = match inputs.value(from)?.content {
        Content::Host(host) => command_of(engine, test, inputs, config, Over::Host(&host))?,
        Content::Snapshot(..) => {
            let base = inputs.snapshot(from)?;
            let applied = operations::apply(&inputs.context, &test.body, &base)
                .map_err(|error| engine.session.located(error))?;
            warnings = warned(engine, &test.name, applied.warnings);
            let value = inputs.value(from)?;
            let lineage = from.path.is_root().then_some(&value.lineage);
            let over = Over::Snapshot { tree: &applied.snapshot, base: &base, lineage };
            command_of(engine, test, inputs, config, over)?
        }
    };
    if !ran.ended_with(test.expect_exit) {
        let wanted = match test.expect_exit {
            0 => String::new(),
            code => format!(", {code} was expected"),
        };
        let message = format!("test `{}` failed: {}{wanted}", test.name.value, end_text(&ran.ended));
        return Err(failure(engine, "test-failed", &message, span_of(test), &test.body, ran));
    }
    let finished = jiff::Timestamp::now().as_second();
    let log = Some(ran.log);
    Ok(Record { result: Yield::Pass, log, duration: 0, finished, trace: None, warnings, unfenced: false })
}

fn command_of(
    engine: &Engine,
    test: &Test,
    inputs: &Inputs<'_>,
    config: &ContainerConfig,
    over: Over<'_>,
) -> std::result::Result<Ran, Failure> {
    let body = &test.body;
    let image = matches!(test.subject, Subject::Image(_));
    let request = run::Request {
        node: &format!("test.{}", test.name.value),
        body,
        argv: command(engine, test, config)?,
        environment: plan::environment(body, config, &engine.session.caller)?,
        user: user(body, config, image)?,
        workdir: workdir(body, config, image)?,
    };
    run::run(engine, inputs, over, request).map_err(|failed| refused(engine, span_of(test), failed))
}

/// Where the file says what is run.
fn span_of(test: &Test) -> Span {
    test.body.run.as_ref().map_or(test.name.span, |run| run.span)
}

fn command(engine: &Engine, test: &Test, config: &ContainerConfig) -> Result<Argv> {
    if let Some(run) = &test.body.run {
        return Ok(argv(run, test.body.shell.as_deref().unwrap_or(&engine.session.loaded.spec.shell)));
    }
    let words: Vec<String> = config.entrypoint.iter().chain(&config.cmd).cloned().collect();
    if words.is_empty() {
        let message =
            format!("test `{}` has no `run`, and its image neither entrypoint nor cmd", test.name.value);
        return Err(Error::spec("missing-field", message));
    }
    Ok(Argv::Words(words))
}

fn user(body: &Body, config: &ContainerConfig, image: bool) -> Result<Owner> {
    match &body.user {
        Some(user) => Ok(user.value.clone()),
        None if image && !config.user.is_empty() => Ok(Owner::parse(&config.user)?),
        None => Ok(root()),
    }
}

fn workdir(body: &Body, config: &ContainerConfig, image: bool) -> Result<TreePath> {
    match &body.workdir {
        Some(workdir) => Ok(workdir.value.clone()),
        None if image => Ok(TreePath::parse(config.workdir.as_bytes())?),
        None => Ok(TreePath::root()),
    }
}
