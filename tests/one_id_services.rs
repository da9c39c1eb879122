//! Packages that live on owners and identities, installed and used where a user has one id: a database, RPM packages,
//! sudo, rotated logs. All is as with a range of ids.

use crate::{
    one_id::{TIERS, by_user, debian, owners},
    support::Build,
};

/// What they do while they are installed and right after it. Owners of it all are compared.
const INSTALL: &str = r#"
exec 2>&1
apt-get update > /dev/null
apt-get install -y --no-install-recommends postgresql rpm sudo logrotate > /dev/null
useradd -m joe
chfn -f 'Joe Doe' joe
echo told: $(passwd -S joe | cut -d ' ' -f 1,2) $(getent passwd joe)
echo told: $(sudo -u joe id -un) $(sudo -u postgres -g daemon id -gn)

mkdir /srv/rpm /srv/log
cat > /srv/rpm/it.spec <<'SPEC'
Name: it
Version: 1
Release: 1
Summary: it
License: none
BuildArch: noarch
%description
it
%install
mkdir -p %{buildroot}/srv/it
echo x > %{buildroot}/srv/it/a
echo y > %{buildroot}/srv/it/b
%post
chown joe:nogroup /srv/it/b
%files
%attr(4755, games, daemon) /srv/it/a
/srv/it/b
SPEC
rpmbuild --quiet -bb --define '_topdir /srv/rpm' /srv/rpm/it.spec
rpm -i --nodeps /srv/rpm/RPMS/noarch/it-1-1.noarch.rpm
echo told: $(stat -c '%U:%G %a' /srv/it/a /srv/it/b)
echo told: $(rpm -V --nodeps it)
chown joe: /srv/it/a
echo told: $(rpm -V --nodeps it)
cp -a /srv/it /srv/kept
rpm -e it
test ! -e /srv/it/a

chown joe: /srv/log
su joe -c 'echo x > /srv/log/a.log'
printf '/srv/log/*.log {\nsu joe joe\nrotate 1\ncreate 640 joe joe\n}\n' > /srv/rotate
logrotate -f /srv/rotate
echo told: $(stat -c '%n %U:%G %a' /srv/log/*)
echo told: $(stat -c '%U:%G %a' /var/lib/postgresql/*/main /var/lib/postgresql/*/main/PG_VERSION)
"#;

/// A server that refuses to be root's, and knows who is at the other end of a socket.
const SERVE: &str = r#"
pg_ctlcluster 15 main start
su postgres -c "psql -Atc \"select 'I am ' || current_user\""
su postgres -c 'createuser joe'
su joe -c "psql -d postgres -Atc \"select 'I am ' || current_user\""
psql -d postgres -Atc 'select 1' 2>&1 | grep -o 'role "root" does not exist'
su postgres -c "psql -U joe -d postgres -Atc 'select 1'" 2>&1 | grep -o 'Peer authentication failed'
pg_ctlcluster 15 main stop
"#;

#[test]
fn debian_services_are_installed_and_run() {
    needs!(fuse, base, root, setpriv, unshare);
    let keys = "network = 'host'\nenv = { DEBIAN_FRONTEND = 'noninteractive', LC_ALL = 'C' }";
    let project = || {
        let project = debian(keys, INSTALL);
        let spec = project.read("build.toml");
        project.write("build.toml", format!("{spec}[test.serves]\nimage = 'it'\nrun = '''{SERVE}'''\n"));
        project
    };
    let root = project();
    let by_root = root.build();
    let told = |build: &Build| -> Vec<String> {
        let lines = build.lines("step.it").into_iter().filter(|line| line.starts_with("told: "));
        lines.map(str::to_owned).collect()
    };
    serves(&by_root);
    assert_eq!(
        told(&by_root)[..4],
        [
            "told: joe L joe:x:1000:1000:Joe Doe,,,:/home/joe:/bin/sh",
            "told: joe daemon",
            "told: games:daemon 4755 joe:nogroup 644",
            "told: .....UG.. /srv/it/b",
        ]
    );
    for tier in TIERS {
        let user = project();
        let build = by_user(&user, tier);
        assert_eq!(told(&build), told(&by_root), "--tier {tier}");
        serves(&build);
        assert_eq!(owners(&user), owners(&root), "--tier {tier}");
    }
}

#[track_caller]
fn serves(build: &Build) {
    assert_eq!(
        build.lines("test.serves"),
        ["I am postgres", "I am joe", "role \"root\" does not exist", "Peer authentication failed"],
        "{}",
        build.output
    );
}
