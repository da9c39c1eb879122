//! The state of a build, owned by the thread that calls [`execute`]: which nodes wait for what, which are being made.
//!
//! A node whose needs are made is decided here, which costs microseconds; what must be made goes to the pool. Nodes of
//! one key in flight are made once. Of those that are ready, the one at the start of the longest remaining chain
//! (durations of the last build) goes first. A failure ends the sandboxes that run and reaches nobody else, or, with
//! `keep_going`, stops what needs the failed node.
//!
//! The pool is rayon's, fed by `spawn`, and its workers block on a child or on a channel; CPU work of tasks goes to the
//! global pool. A worker that waited in rayon's own `join` or `scope` would start another step on its stack.

use super::{
    Engine,
    task::{self, Decided, Done, Failure, Job, Known},
};
use crate::{
    convert::STORE_DAMAGED,
    error::{Error, Kind as ErrorKind, Result},
    graph::NodeId,
    image,
    key::{Ingredients, Key},
    report::{Event, Outcome},
    spec::{Kind, types::Base},
    store::Node,
};
use std::{
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

/// How a build went.
pub struct Summary {
    /// Steps and tests that ran.
    pub ran: usize,
    /// Steps and tests that were cached.
    pub cached: usize,
    /// Nodes that failed.
    pub failed: usize,
    /// Nodes that were not reached.
    pub skipped: usize,
    /// Steps and tests that were ended while they ran.
    pub interrupted: usize,
    /// For the history: every node that was reached.
    pub nodes: BTreeMap<String, Node>,
    /// The first failure, told already.
    pub error: Option<Error>,
}

/// What comes back from the pool.
struct Message {
    id: NodeId,
    key: Option<Key>,
    result: std::result::Result<Done, Failure>,
    ingredients: Ingredients,
    duration: Duration,
}

struct Scheduler {
    engine: Arc<Engine>,
    wanted: BTreeSet<NodeId>,
    /// How many needs are not made yet.
    missing: HashMap<NodeId, usize>,
    chains: Vec<Duration>,
    ready: BinaryHeap<(Duration, std::cmp::Reverse<NodeId>)>,
    known: Known,
    foreseen: image::Foreseen,
    in_flight: BTreeMap<Key, Vec<NodeId>>,
    running: usize,
    finished: BTreeSet<NodeId>,
    summary: Summary,
    pool: rayon::ThreadPool,
    sender: mpsc::Sender<Message>,
}

/// Makes these targets and all they need.
///
/// # Errors
/// The pool can't be started. Failures of nodes are in the summary.
pub fn execute(engine: &Arc<Engine>, targets: &BTreeSet<NodeId>) -> Result<Summary> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(engine.jobs)
        .thread_name(|index| format!("step-{index}"))
        .build()
        .map_err(|error| Error::environment("the threads of the build can't be started").caused_by(error))?;
    let (sender, receiver) = mpsc::channel();
    let wanted = engine.session.graph.with_needs(targets.iter().copied());
    let last = |id: NodeId| {
        let node = engine.session.last.nodes.get(&engine.session.graph.node(id).to_string());
        Duration::from_millis(node.map_or(0, |node| node.duration)) + Duration::from_millis(1)
    };
    let mut scheduler = Scheduler {
        chains: engine.session.graph.longest_chains(&wanted, last),
        missing: wanted.iter().map(|id| (*id, engine.session.graph.needs(*id).len())).collect(),
        engine: engine.clone(),
        wanted,
        ready: BinaryHeap::new(),
        known: Known::default(),
        foreseen: image::Foreseen::new(&engine.session),
        in_flight: BTreeMap::new(),
        running: 0,
        finished: BTreeSet::new(),
        summary: Summary {
            ran: 0,
            cached: 0,
            failed: 0,
            skipped: 0,
            interrupted: 0,
            nodes: BTreeMap::new(),
            error: None,
        },
        pool,
        sender,
    };
    let free: Vec<NodeId> =
        scheduler.missing.iter().filter(|(_, missing)| **missing == 0).map(|(id, _)| *id).collect();
    free.into_iter().for_each(|id| scheduler.enqueue(id));
    loop {
        scheduler.start_ready();
        if scheduler.running == 0 {
            break;
        }
        // The scheduler itself holds a sender, so this ends only with a message.
        let Ok(message) = receiver.recv() else { break };
        scheduler.receive(message);
    }
    Ok(scheduler.end())
}

impl Scheduler {
    fn enqueue(&mut self, id: NodeId) {
        self.ready.push((self.chains[id.index()], std::cmp::Reverse(id)));
    }

    /// Whether nothing new is to be started.
    fn stopping(&self) -> bool {
        self.engine.cancel.is_stopped() || (self.summary.failed > 0 && !self.engine.keep_going)
    }

    fn start_ready(&mut self) {
        while !self.stopping() && self.running < self.engine.jobs {
            let Some((_, std::cmp::Reverse(id))) = self.ready.pop() else { return };
            let started = Instant::now();
            let target = self.engine.session.graph.node(id).clone();
            match task::decide(&self.engine, &target, &self.known) {
                Ok(Decided::Done(done)) => self.done(id, *done),
                Ok(Decided::Make(job)) => self.start(id, job),
                Err(error) => self.failed(id, error.into(), None, started.elapsed()),
            }
        }
    }

    fn start(&mut self, id: NodeId, job: Job) {
        if let Some(key) = &job.key {
            if let Some(followers) = self.in_flight.get_mut(key) {
                followers.push(id);
                return;
            }
            self.in_flight.insert(*key, Vec::new());
        }
        let (engine, known, sender) = (self.engine.clone(), self.known_to(id), self.sender.clone());
        self.running += 1;
        self.pool.spawn(move || {
            let (start, key, ingredients) = (Instant::now(), job.key, job.ingredients().clone());
            let target = engine.session.graph.node(id).clone();
            let work = || task::make(&engine, &target, &known, job);
            let result =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|panic| {
                    Err(Error::internal(format!("{target}: {}", panic_text(&*panic))).into())
                });
            // The last one to let go of the engine removes the scratch folder: not a thread that the process leaves behind.
            drop(engine);
            // Nobody listens any more only if the scheduler's thread panicked.
            let _ = sender.send(Message { id, key, result, ingredients, duration: start.elapsed() });
        });
    }

    /// What a job is told of: what its node needs, and what the branches of a merge stand on, one of which is their
    /// common base. All that is known would be too much to copy for every job.
    fn known_to(&self, id: NodeId) -> Known {
        let session = &self.engine.session;
        let mut names: BTreeSet<String> =
            session.graph.needs(id).into_iter().map(|need| session.graph.node(need).name.clone()).collect();
        let step = session.loaded.spec.steps.get(&session.graph.node(id).name);
        if let Some(Base::Merge(merge)) = step.map(|step| &step.base) {
            let branches = merge.branches.iter().filter_map(|branch| self.known.values.get(&branch.name));
            names.extend(branches.flat_map(|value| value.lineage.ancestors()).map(|one| one.made_by.clone()));
        }
        let known = |name: String| self.known.values.get(&name).cloned().map(|value| (name, value));
        Known { values: names.into_iter().filter_map(known).collect() }
    }

    fn receive(&mut self, message: Message) {
        self.running -= 1;
        let followers = message.key.and_then(|key| self.in_flight.remove(&key)).unwrap_or_default();
        match message.result {
            Ok(done) => self.done(message.id, done),
            Err(failure) => self.failed(message.id, failure, Some(&message.ingredients), message.duration),
        }
        // They find the record of the one that was made; after a failure the next one tries.
        followers.into_iter().for_each(|id| self.enqueue(id));
    }

    fn done(&mut self, id: NodeId, done: Done) {
        let target = self.engine.session.graph.node(id).clone();
        if matches!(target.kind, Kind::Step | Kind::Test) {
            match done.outcome {
                Outcome::Cached => self.summary.cached += 1,
                Outcome::Ran => self.summary.ran += 1,
            }
        }
        let duration = u64::try_from(done.duration.as_millis()).unwrap_or(u64::MAX);
        let node = target.to_string();
        self.engine.session.reporter.report(&Event::Finished {
            node: node.clone(),
            outcome: done.outcome,
            duration,
        });
        let mut remembered = done.node;
        if let (Outcome::Cached, Some(last)) = (done.outcome, self.engine.session.last.nodes.get(&node)) {
            remembered.duration = last.duration;
        }
        self.summary.nodes.insert(node, remembered);
        if let Some(value) = done.value {
            self.foreseen.prepare(&self.engine.layers, &target.name, &value);
            self.known.values.insert(target.name.clone(), value);
        }
        self.finished.insert(id);
        for dependent in self.engine.session.graph.dependents(id) {
            let Some(missing) = self.missing.get_mut(&dependent) else { continue };
            *missing -= 1;
            if *missing == 0 {
                self.enqueue(dependent);
            }
        }
    }

    fn failed(
        &mut self,
        id: NodeId,
        failure: Failure,
        ingredients: Option<&Ingredients>,
        duration: Duration,
    ) {
        let node = self.engine.session.graph.node(id).to_string();
        self.finished.insert(id);
        let remembered = task::failed_node(ingredients, self.engine.session.last.nodes.get(&node), &failure);
        let stopped = self.engine.cancel.is_stopped() && failure.error.kind() == ErrorKind::Interrupted;
        if stopped && (self.summary.failed > 0 || self.engine.cancel.is_interrupted()) {
            // Ended because of another one's failure, or by the user: not a failure of its own.
            let interrupted = failure.log.is_some();
            self.engine.session.reporter.report(&Event::Skipped { node: node.clone(), interrupted });
            if interrupted {
                self.summary.interrupted += 1;
                self.summary.nodes.insert(node, remembered);
            } else {
                self.summary.skipped += 1;
            }
            return;
        }
        self.summary.failed += 1;
        self.summary.nodes.insert(node.clone(), remembered);
        let error = &failure.error;
        self.engine.session.reporter.report(&Event::Failed {
            node,
            code: error.code().map(str::to_owned),
            message: error.message().to_owned(),
            causes: error.causes(),
            hints: error.hints().to_vec(),
            last_lines: failure.last_lines,
            duration: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        });
        // Of several, the one that another look at the store may mend.
        if self.summary.error.is_none() || failure.error.code() == Some(STORE_DAMAGED) {
            self.summary.error = Some(*failure.error);
        }
        if !self.engine.keep_going {
            self.engine.cancel.stop();
        }
    }

    /// Tells what was not reached.
    fn end(mut self) -> Summary {
        for id in self.wanted.iter().filter(|id| !self.finished.contains(id)) {
            self.summary.skipped += 1;
            let node = self.engine.session.graph.node(*id).to_string();
            self.engine.session.reporter.report(&Event::Skipped { node, interrupted: false });
        }
        if self.engine.cancel.is_interrupted() {
            self.summary.error = Some(Error::interrupted());
        }
        self.summary
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("this is a bug in rbuild: {}", text.unwrap_or("it panicked"))
}
