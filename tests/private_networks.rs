//! `network = "private"`: others are reached, this machine's loopback is not. What is outside is made here: the network of
//! each test is its own, with one neighbour in it.

use crate::support::{
    Build, NAME_SERVER, Output, Project, adopt_orphans, busybox, nothing_runs, run, start_name_server,
};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::gettid,
};
use rbuild::doctor::{Name, Report, State};
use std::{
    io::{Read, Write},
    net::TcpListener,
    process::Command,
    sync::mpsc,
    thread,
};

const THIS: [u8; 4] = [198, 51, 100, 1];
const NEIGHBOUR: [u8; 4] = [198, 51, 100, 2];

const STEP: &str = "
[step.it]
from = 'base'
network = 'private'
rerun-after = '1d'
files = [{ path = '/bin/ask', mode = '755', content = '''
#!/bin/sh
echo; read -r line; echo $line >&2
''' }]
run = '''
get() { busybox nc -w 5 $1 80 -e /bin/ask 2>&1 || echo no answer of $1; }
get 198.51.100.2
busybox nslookup -type=a neighbour.test | grep -o 'Address: 198.*'
get 127.0.0.1
'''
";

/// Gives this thread a network with a neighbour, name servers on loopback only, and a device that all may open.
fn make_network(project: &Project) {
    let nothing = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("namespaces");
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).expect("private mounts");
    let (tell, told) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
        tell.send(gettid()).expect("somebody waits");
        wait.recv().expect("the link is there");
        ip("addr add 198.51.100.2/24 dev far");
        ip("link set far up");
        serve(NEIGHBOUR, "of the neighbour");
        tell.send(gettid()).expect("somebody waits");
    });
    let neighbour = told.recv().expect("a thread");
    ip("link set lo up");
    ip(&format!("link add near type veth peer name far netns {neighbour}"));
    ip("addr add 198.51.100.1/24 dev near");
    ip("link set near up");
    ip("route add default via 198.51.100.2");
    go.send(()).expect("it waits");
    told.recv().expect("it serves");
    serve(THIS, "of this machine");
    serve([127, 0, 0, 1], "of its loopback");
    start_name_server(NEIGHBOUR);
    project.write("resolv.conf", format!("nameserver {NAME_SERVER}\n"));
    run(Command::new("mknod").args(["-m", "666"]).arg(project.path("tun")).args(["c", "10", "200"]));
    for (file, place) in [("resolv.conf", "/etc/resolv.conf"), ("tun", "/dev/net/tun")] {
        mount(Some(&project.path(file)), place, nothing, MsFlags::MS_BIND, nothing).expect("a bind");
    }
}

#[track_caller]
fn ip(arguments: &str) {
    run(Command::new("ip").args(arguments.split(' ')));
}

/// A server that says the same to everybody who says something, of this thread's network. (pasta
/// does not always tell that one closed, so the client does not wait for that.)
fn serve(address: [u8; 4], page: &'static str) {
    let listener = TcpListener::bind((std::net::Ipv4Addr::from(address), 80)).expect("port 80");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client that goes away is no concern of the server's.
            let _ = (&client).read(&mut [0]);
            let _ = writeln!(&client, "{page}");
        }
    });
}

/// Its step reaches the neighbour, by number and by name, and not this machine.
#[track_caller]
fn leads_outward_only(output: Output) {
    let build = Build::read(output).success();
    let refused = "nc: can't connect to remote host (127.0.0.1): Connection refused";
    let expected = ["of the neighbour", "Address: 198.51.100.2", refused, "no answer of 127.0.0.1"];
    assert_eq!(build.lines("step.it"), expected, "{}", build.output);
    assert_eq!(
        build.warnings().iter().filter(|warning| warning.contains("network")).count(),
        0,
        "{}",
        build.output
    );
}

fn arguments(tier: &str) -> [&str; 8] {
    ["apply", "--progress", "json", "--tier", tier, "--store", tier, "it"]
}

#[test]
fn sandbox_a_private_network_of_root_leads_outward_only() {
    needs!(root, fuse, busybox, ip, slirp4netns);
    let project = busybox(STEP);
    make_network(&project);
    for tier in ["fuse", "overlay"] {
        leads_outward_only(project.rbuild(arguments(tier)));
    }
    let output = project.rbuild(["doctor", "--json"]);
    let report: Report = serde_json::from_str(&output.stdout).expect("a report");
    let check = report.checks.iter().find(|check| check.name == Name::PrivateNetwork).expect("it is told");
    assert_eq!(check.state, State::Ok, "{check:?}");
}

#[test]
fn sandbox_a_private_network_of_a_user_leads_outward_only() {
    needs!(root, fuse, busybox, setpriv, unshare, ip, pasta, slirp4netns);
    let project = busybox(STEP);
    make_network(&project);
    for tier in ["fuse", "overlay"] {
        leads_outward_only(project.as_user(&arguments(tier)));
    }
    // By the second program if the first is not there.
    let hidden = "mount --bind /dev/null \"$(readlink -f /usr/bin/pasta)\"\n";
    let output = project.elsewhere_as_user_after(hidden, "rm -r fuse; exec \"$@\"", &arguments("fuse"));
    leads_outward_only(output);
}

/// With the engine by its end, and with the step by its end.
#[test]
fn sandbox_what_leads_outward_ends_with_the_engine() {
    needs!(root, fuse, busybox, setpriv, unshare, ip, pasta, slirp4netns);
    adopt_orphans();
    let project = busybox("[step.it]\nfrom = 'base'\nnetwork = 'private'\nrun = 'echo ready; sleep 1000'\n");
    make_network(&project);
    let killed = r#"
"$@" > out & engine=$!
until grep -q ready out; do kill -0 $engine; done
kill -KILL $engine"#;
    for output in [
        project.elsewhere(killed, &arguments("fuse")),
        project.elsewhere_as_user(killed, &["apply", "--progress", "json", "--store", "new", "it"]),
    ] {
        assert_eq!(output.code, Some(0), "the step ran until it was killed: {output}");
        nothing_runs();
    }
}

/// What is missing, and what helps.
#[test]
fn sandbox_a_private_network_that_can_not_be_made_is_told() {
    needs!(root, fuse, busybox, unshare, slirp4netns);
    for (script, sentence) in [
        (
            "mount --bind /dev/null \"$(readlink -f /usr/bin/slirp4netns)\"",
            "find slirp4netns for network = \"private\": ENOENT (No such file or directory): a network that only leads \
             outward is made by that program: apt-get install slirp4netns",
        ),
        (
            "mount -t tmpfs none /dev/net",
            "open /dev/net/tun: ENOENT (No such file or directory): a network that only leads outward needs this device: ",
        ),
        (
            "mount --bind /bin/false \"$(readlink -f /usr/bin/slirp4netns)\"",
            "slirp4netns: it ended without a word",
        ),
    ] {
        let output = busybox(STEP).elsewhere(&format!("{script}; exec \"$@\""), &arguments("fuse"));
        let build = Build::read(output).failure(3);
        let failed = build.failed("step.it");
        assert!(failed.message.starts_with("build.toml:") && failed.message.contains(sentence), "{failed:?}");
    }
}
