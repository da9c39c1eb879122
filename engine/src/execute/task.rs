//! One node: decided, and made. Knows nothing of other nodes but what they turned out to be.

use super::{Engine, Machine, lock::Lock, step, test};
use crate::{
    container::ContainerConfig,
    error::{Error, Kind as ErrorKind, Result},
    image,
    key::{Ingredients, Key},
    operations,
    plan::{self, Decision, Inputs, Question, Why},
    report::{Event, Outcome},
    session::NeededTrees,
    source,
    spec::{
        Kind, Target,
        types::{Base, Body, Network, Reference, Step, Subject, Test},
    },
    store::{Node, Record},
    value::{Content, Lineage, Value},
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// What is known of other nodes when one is decided or made.
#[derive(Default)]
pub(super) struct Known {
    /// Sources and steps, by name.
    pub(super) values: BTreeMap<String, Value>,
}

/// A node that is made.
pub(super) struct Done {
    /// Of sources and steps.
    pub(super) value: Option<Value>,
    pub(super) outcome: Outcome,
    /// For the history.
    pub(super) node: Node,
    pub(super) duration: Duration,
}

/// A node that failed.
pub(super) struct Failure {
    pub(super) error: Box<Error>,
    /// Of its command.
    pub(super) last_lines: Vec<String>,
    /// The object of the log, in hex.
    pub(super) log: Option<String>,
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: Box::new(error.into()), last_lines: Vec::new(), log: None }
    }
}

/// A node that must be made.
pub(super) struct Job {
    /// The same for two nodes that do the same to the same.
    pub(super) key: Option<Key>,
    pub(super) why: String,
    ingredients: Ingredients,
}

pub(super) enum Decided {
    Done(Box<Done>),
    Make(Job),
}

/// Decides for a node whose needs are known.
pub(super) fn decide(engine: &Engine, target: &Target, known: &Known) -> Result<Decided> {
    let trees = NeededTrees { store: &engine.session.store, values: &known.values };
    let inputs = engine.session.inputs(&trees);
    match target.kind {
        Kind::Step => decide_step(engine, &engine.session.loaded.spec.steps[&target.name], &inputs),
        Kind::Test => decide_test(engine, &engine.session.loaded.spec.tests[&target.name], &inputs),
        Kind::Source | Kind::Image | Kind::Artifact => {
            let why = "always looked at".to_owned();
            Ok(Decided::Make(Job { key: None, why, ingredients: Ingredients::default() }))
        }
    }
}

fn question<'a>(
    engine: &'a Engine,
    node: &str,
    ingredients: &'a Ingredients,
    rerun: Option<Duration>,
    unfenced: &'a dyn Fn() -> bool,
) -> Question<'a> {
    Question {
        key: ingredients.key(),
        ingredients,
        last: engine.session.last.nodes.get(node),
        rerun_after: rerun,
        deep: engine.session.deep,
        unfenced,
    }
}

fn decide_step(engine: &Engine, step: &Step, inputs: &Inputs<'_>) -> Result<Decided> {
    let config = plan::step_config(step, inputs)?;
    let ingredients = plan::step_ingredients(step, inputs, &config)?;
    let node = format!("step.{}", step.name.value);
    let unfenced = || engine.machine().is_ok_and(Machine::is_unfenced);
    let question = question(engine, &node, &ingredients, step.body.rerun_after, &unfenced);
    match plan::decide_step(step, inputs, &question)? {
        Decision::Cached(cached) => {
            let content =
                cached.content.ok_or_else(|| Error::internal("the record of a step holds no tree"))?;
            warn_again(engine, &step.name, &cached.record);
            let value = step_value(step, inputs, content, config)?;
            let node = history_node(&ingredients, &cached.record, Some(&value));
            Ok(Decided::Done(Box::new(Done {
                value: Some(value),
                outcome: Outcome::Cached,
                node,
                duration: Duration::ZERO,
            })))
        }
        Decision::Run(why) => Ok(make_because(question.key, &why, ingredients)),
    }
}

fn make_because(key: Key, why: &Why, ingredients: Ingredients) -> Decided {
    Decided::Make(Job { key: Some(key), why: why.to_string(), ingredients })
}

fn warn_again(engine: &Engine, name: &str, record: &Record) {
    for warning in &record.warnings {
        engine.session.warn(warning.code.as_deref(), Some(name), warning.message.clone());
    }
}

fn decide_test(engine: &Engine, test: &Test, inputs: &Inputs<'_>) -> Result<Decided> {
    let (from, config) = subject(engine, test, inputs)?;
    let ingredients = plan::test_ingredients(test, &from, inputs, &config)?;
    let node = format!("test.{}", test.name.value);
    let unfenced = || engine.machine().is_ok_and(Machine::is_unfenced);
    let question = question(engine, &node, &ingredients, test.body.rerun_after, &unfenced);
    if let Content::Host(_) = inputs.value(&from)?.content {
        // A test leaves no record over this machine's files: there is no tree its trace could be kept with.
        return Ok(make_because(question.key, &Why::Untraced, ingredients));
    }
    match plan::decide_test(&engine.session.store, &question) {
        Decision::Cached(cached) => {
            warn_again(engine, &test.name, &cached.record);
            let node = history_node(&ingredients, &cached.record, None);
            let duration = Duration::ZERO;
            Ok(Decided::Done(Box::new(Done { value: None, outcome: Outcome::Cached, node, duration })))
        }
        Decision::Run(why) => Ok(make_because(question.key, &why, ingredients)),
    }
}

/// The tree a test looks at, and the config its command runs with.
fn subject(engine: &Engine, test: &Test, inputs: &Inputs<'_>) -> Result<(Reference, ContainerConfig)> {
    let (from, image) = match &test.subject {
        Subject::From(reference) => (reference.value.clone(), None),
        Subject::Image(name) => {
            let image = &engine.session.loaded.spec.images[name.as_str()];
            (image.from.value.clone(), Some(image))
        }
    };
    let mut config = inputs.value(&from)?.config.as_ref().clone();
    if let Some(image) = image {
        config = plan::join_config(&config, &image.config, &format!("image `{}`", image.name.value))?;
    }
    let config = plan::join_config(&config, &test.body.config, &format!("test `{}`", test.name.value))?;
    Ok((from, config))
}

/// Makes a node.
pub(super) fn make(
    engine: &Engine,
    target: &Target,
    known: &Known,
    job: Job,
) -> std::result::Result<Done, Failure> {
    let start = Instant::now();
    let trees = NeededTrees { store: &engine.session.store, values: &known.values };
    let inputs = engine.session.inputs(&trees);
    // Another process may be making the same: wait for it, and take what it made.
    let _lock = match &job.key {
        Some(key) => {
            let lock = Lock::wait(&engine.session.store.lock_path(&key.to_string()), &engine.cancel)?;
            if engine.session.store.records().knows(key)
                && let Decided::Done(done) = decide(engine, target, known)?
            {
                return Ok(*done);
            }
            Some(lock)
        }
        None => None,
    };
    if matches!(target.kind, Kind::Step | Kind::Test) {
        engine.session.reporter.report(&Event::Started { node: target.to_string(), why: job.why.clone() });
    }
    let mut done = match target.kind {
        Kind::Source => make_source(engine, &target.name)?,
        Kind::Step => {
            make_step(engine, &engine.session.loaded.spec.steps[&target.name], &inputs, job, start)?
        }
        Kind::Test => {
            make_test(engine, &engine.session.loaded.spec.tests[&target.name], &inputs, job, start)?
        }
        Kind::Image => {
            let image = &engine.session.loaded.spec.images[&target.name];
            let built = image::make(&engine.session, &engine.layers, image, &inputs)?;
            Done { value: None, outcome: Outcome::Ran, node: built, duration: Duration::ZERO }
        }
        Kind::Artifact => make_artifact(engine, &target.name, &inputs)?,
    };
    done.duration = start.elapsed();
    Ok(done)
}

/// Makes the tree of a source.
pub(super) fn fetch(engine: &Engine, name: &str) -> Result<Value> {
    let epoch = engine.session.epoch();
    let warn = |code: &'static str, message: String| engine.session.warn(Some(code), Some(name), message);
    let surroundings = source::Surroundings {
        store: &engine.session.store,
        folder: &engine.session.loaded.folder,
        written: &engine.session.written,
        epoch,
        platform: &engine.session.platform,
        registries: &engine.session.registries,
        lookups: &engine.session.lookups,
        turns: &engine.session.turns,
        deep: engine.session.deep,
        stopped: &|| engine.cancel.is_stopped(),
        warn: &warn,
    };
    let source = &engine.session.loaded.spec.sources[name];
    source::fetch(source, &surroundings).map_err(|error| {
        let files = &engine.session.loaded.warnings.files;
        error.within(&format!("source `{name}`")).placed(files, source.name.span)
    })
}

fn make_source(engine: &Engine, name: &str) -> Result<Done> {
    let value = fetch(engine, name)?;
    let mut node = Node { passed: true, ..Node::default() };
    if let Content::Snapshot(id, _) = &value.content {
        node.snapshot = Some(id.to_string());
    }
    Ok(Done { value: Some(value), outcome: Outcome::Ran, node, duration: Duration::ZERO })
}

fn make_step(
    engine: &Engine,
    step: &Step,
    inputs: &Inputs<'_>,
    job: Job,
    start: Instant,
) -> std::result::Result<Done, Failure> {
    let config = plan::step_config(step, inputs)?;
    let mut made = step::make(engine, step, inputs, &config)?;
    made.record.duration = milliseconds(start.elapsed());
    made.record.unfenced = step.body.run.is_some() && is_unfenced(engine, &step.body);
    let (records, key) = (engine.session.store.records(), job.ingredients.key());
    match &made.content {
        Content::Snapshot(..) if step.body.run.is_some() && lacks_capabilities(engine) => {}
        Content::Snapshot(..) => records.put(&key, &made.record)?,
        // One without a trace is never used: it tells why.
        Content::Host(_) => records.add_traced(&key, made.record.clone())?,
    }
    warn_again(engine, &step.name, &made.record);
    let value = step_value(step, inputs, made.content, config)?;
    let node = history_node(&job.ingredients, &made.record, Some(&value));
    Ok(Done { value: Some(value), outcome: Outcome::Ran, node, duration: Duration::ZERO })
}

fn make_test(
    engine: &Engine,
    test: &Test,
    inputs: &Inputs<'_>,
    job: Job,
    start: Instant,
) -> std::result::Result<Done, Failure> {
    let (from, config) = subject(engine, test, inputs)?;
    let mut record = test::make(engine, test, &from, inputs, &config)?;
    record.duration = milliseconds(start.elapsed());
    record.unfenced = is_unfenced(engine, &test.body);
    if let Content::Snapshot(..) = inputs.value(&from)?.content
        && !lacks_capabilities(engine)
    {
        engine.session.store.records().put(&job.ingredients.key(), &record)?;
    }
    let node = history_node(&job.ingredients, &record, None);
    Ok(Done { value: None, outcome: Outcome::Ran, node, duration: Duration::ZERO })
}

/// Whether a command that was run could reach a network that it was not to have.
fn is_unfenced(engine: &Engine, body: &Body) -> bool {
    body.network != Network::Host
        && matches!(engine.machine.get(), Some(Ok(machine)) if machine.is_unfenced())
}

/// Whether what a command does here may be something else elsewhere.
fn lacks_capabilities(engine: &Engine) -> bool {
    matches!(engine.machine.get(), Some(Ok(machine)) if machine.lacks_capabilities())
}

fn make_artifact(engine: &Engine, name: &str, inputs: &Inputs<'_>) -> Result<Done> {
    let artifact = &engine.session.loaded.spec.artifacts[name];
    let exported = operations::export(&inputs.context, artifact, &engine.session.out);
    let exported =
        exported.map_err(|error| engine.session.located(error).within(&format!("artifact `{name}`")))?;
    engine.session.warn_all(&format!("artifact.{name}"), exported.warnings);
    let path = exported.path.display().to_string();
    engine.session.reporter.report(&Event::Artifact { name: name.to_owned(), path, files: exported.files });
    let node = Node { passed: true, ..Node::default() };
    Ok(Done { value: None, outcome: Outcome::Ran, node, duration: Duration::ZERO })
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What is remembered of a node until the next build.
fn history_node(ingredients: &Ingredients, record: &Record, value: Option<&Value>) -> Node {
    let snapshot = value.and_then(|value| match &value.content {
        Content::Snapshot(id, _) => Some(id.to_string()),
        Content::Host(_) => None,
    });
    Node {
        ingredients: ingredients.clone(),
        snapshot,
        log: record.log.clone(),
        passed: true,
        duration: record.duration,
        ..Node::default()
    }
}

/// A node that failed, for the history: its log can be read, and the next build knows why it runs again. One that failed
/// before its ingredients were known is compared with what it was before that.
pub(super) fn failed_node(job: Option<&Ingredients>, last: Option<&Node>, failure: &Failure) -> Node {
    let ingredients = job.or(last.map(|last| &last.ingredients)).cloned().unwrap_or_default();
    let interrupted = failure.error.kind() == ErrorKind::Interrupted;
    let duration = last.map_or(0, |last| last.duration);
    Node { ingredients, log: failure.log.clone(), interrupted, duration, ..Node::default() }
}

impl Job {
    pub(super) fn ingredients(&self) -> &Ingredients {
        &self.ingredients
    }
}

fn step_value(
    step: &Step,
    inputs: &Inputs<'_>,
    content: Content,
    config: Arc<ContainerConfig>,
) -> Result<Value> {
    let snapshot = match &content {
        Content::Snapshot(_, snapshot) => Some(snapshot.clone()),
        Content::Host(_) => None,
    };
    let (parent, branches) = match &step.base {
        Base::From(reference) if reference.is_scratch() => (None, Vec::new()),
        Base::From(reference) if reference.path.is_root() => {
            (Some(inputs.value(reference)?.lineage), Vec::new())
        }
        // A directory of a tree is a new bottom.
        Base::From(reference) => {
            let bottom = Arc::new(inputs.snapshot(reference)?);
            (Some(Lineage::bottom(&reference.to_string(), Some(bottom))), Vec::new())
        }
        Base::Merge(merge) => {
            let values: Vec<Value> =
                merge.branches.iter().map(|branch| inputs.value(branch)).collect::<Result<_>>()?;
            let parent = match &merge.base {
                Some(base) if base.is_scratch() => None,
                Some(base) => Some(inputs.value(base)?.lineage),
                None => plan::common_ancestor(merge, inputs)?,
            };
            (parent, values.into_iter().map(|value| value.lineage).collect())
        }
    };
    let made_by = step.name.value.clone();
    let lineage = Arc::new(Lineage { made_by, snapshot, parent, branches, image: None });
    Ok(Value { content, config, lineage })
}
