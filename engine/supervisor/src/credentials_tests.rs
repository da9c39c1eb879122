//! The rules, call by call.
#![allow(clippy::unwrap_used)]

use super::*;

fn user(id: u32) -> Credentials {
    let mut credentials = Credentials::root();
    credentials.set_groups(vec![]).unwrap();
    credentials.set_group(id).unwrap();
    credentials.set_user(id).unwrap();
    credentials
}

fn ids(real: u32, effective: u32, saved: u32) -> Ids {
    Ids { real, effective, saved, filesystem: effective }
}

/// An unprivileged process with three different users.
fn three() -> Credentials {
    let mut credentials = Credentials::root();
    credentials.set_three_users([10, 20, 30]).unwrap();
    credentials
}

#[test]
fn root_becomes_anybody_and_never_comes_back() {
    let mut process = user(33);
    assert_eq!((process.user, process.group), (Ids::all(33), Ids::all(33)));
    assert!(!process.is_privileged());
    for refused in [
        process.set_user(0),
        process.set_two_users(0, UNCHANGED),
        process.set_two_users(UNCHANGED, 0),
        process.set_three_users([UNCHANGED, 0, UNCHANGED]),
        process.set_group(0),
        process.set_two_groups(0, 0),
        process.set_three_groups([0, 0, 0]),
        process.set_groups(vec![0]),
    ] {
        assert_eq!(refused, Err(Errno::PERM));
    }
    assert_eq!((process.user, process.group), (Ids::all(33), Ids::all(33)));
    process.set_user(33).unwrap();
    process.set_three_users([33, UNCHANGED, 33]).unwrap();
}

#[test]
fn a_temporary_drop_is_taken_back_with_all_privileges() {
    let mut process = Credentials::root();
    process.set_three_users([UNCHANGED, 106, UNCHANGED]).unwrap();
    assert_eq!(process.user, ids(0, 106, 0));
    assert!(!process.is_privileged());
    assert_eq!(process.set_groups(vec![5]), Err(Errno::PERM));
    assert_eq!(process.set_user(7), Err(Errno::PERM));
    process.set_three_users([UNCHANGED, 0, UNCHANGED]).unwrap();
    assert!(process.is_privileged());
    // By setreuid and by setuid, which without privilege changes the effective one only.
    process.set_two_users(UNCHANGED, 106).unwrap();
    assert_eq!(process.user, ids(0, 106, 106), "the effective one is not the real one, so it is saved too");
    process.set_user(0).unwrap();
    assert_eq!(process.user, ids(0, 0, 106));
    assert!(process.is_privileged());
}

#[test]
fn setuid_without_privilege_takes_the_real_or_saved_one() {
    for (id, expected) in [(10, Ok(ids(10, 10, 30))), (30, Ok(ids(10, 30, 30))), (20, Err(Errno::PERM))] {
        let mut process = three();
        assert_eq!(process.set_user(id).map(|()| process.user), expected, "{id}");
    }
    assert_eq!(three().set_user(UNCHANGED), Err(Errno::INVAL));
    assert_eq!(Credentials::root().set_group(UNCHANGED), Err(Errno::INVAL));
}

#[test]
fn setreuid_without_privilege() {
    for (real, effective, expected) in [
        (20, 10, Ok(ids(20, 10, 10))),
        (UNCHANGED, 30, Ok(ids(10, 30, 30))),
        (UNCHANGED, 10, Ok(ids(10, 10, 30))),
        (UNCHANGED, UNCHANGED, Ok(ids(10, 20, 30))),
        (10, UNCHANGED, Ok(ids(10, 20, 20))),
        (30, UNCHANGED, Err(Errno::PERM)),
        (UNCHANGED, 5, Err(Errno::PERM)),
    ] {
        let mut process = three();
        let result = process.set_two_users(real, effective).map(|()| process.user);
        assert_eq!(result, expected, "{real} {effective}");
    }
}

#[test]
fn setresuid_without_privilege_permutes() {
    let mut process = three();
    process.set_three_users([30, 10, 20]).unwrap();
    assert_eq!(process.user, ids(30, 10, 20));
    assert_eq!(process.set_three_users([40, 10, 20]), Err(Errno::PERM));
    assert_eq!(process.user, ids(30, 10, 20));
}

#[test]
fn groups_follow_the_same_rules_but_the_privilege_is_the_users() {
    let mut process = Credentials::root();
    process.set_three_groups([1, 2, 3]).unwrap();
    assert!(process.is_privileged());
    process.set_three_users([9, 9, 9]).unwrap();
    process.set_two_groups(2, 3).unwrap();
    assert_eq!(process.group, ids(2, 3, 3));
    assert_eq!(process.set_group(1), Err(Errno::PERM));
    process.set_group(2).unwrap();
    assert_eq!(process.group, ids(2, 2, 3));
}

#[test]
fn the_filesystem_ids_say_the_former_one() {
    let mut process = three();
    assert_eq!(process.set_filesystem_user(30), 20);
    assert_eq!(process.set_filesystem_user(5), 30, "refused, and not told");
    assert_eq!(process.set_filesystem_user(UNCHANGED), 30);
    assert_eq!(process.user.filesystem, 30);
    process.set_three_users([UNCHANGED; 3]).unwrap();
    assert_eq!(process.user.filesystem, 20, "it follows the effective one");
    let mut root = Credentials::root();
    assert_eq!((root.set_filesystem_user(7), root.set_filesystem_group(8)), (0, 0));
    assert_eq!((root.user.filesystem, root.group.filesystem), (7, 8));
    assert_eq!(root.user.effective, 0);
}

#[test]
fn supplementary_groups() {
    let mut process = Credentials::root();
    process.set_groups(vec![27, 4, 27]).unwrap();
    assert_eq!(process.groups, [4, 27, 27]);
    assert!(process.is_in_group(27) && process.is_in_group(0) && !process.is_in_group(5));
    assert_eq!(process.set_groups(vec![1, UNCHANGED]), Err(Errno::INVAL));
    assert_eq!(process.check_groups(MOST_GROUPS + 1), Err(Errno::INVAL));
    process.set_user(1).unwrap();
    assert_eq!(process.check_groups(MOST_GROUPS + 1), Err(Errno::PERM));
    assert_eq!(process.groups, [4, 27, 27], "kept over a change of users");
}

/// setpriv(1) takes the user first, then raises what it kept, then takes the group.
#[test]
fn kept_capabilities_are_raised_again() {
    let mut process = Credentials::root();
    process.set_keep(true, Some(Program::from(*b"one")));
    process.set_three_users([6, 6, 6]).unwrap();
    assert!(!process.is_privileged(), "the effective set is always cleared");
    process.set_capabilities(true, true);
    process.set_three_groups([12, 12, 12]).unwrap();
    process.set_groups(vec![12]).unwrap();
    assert_eq!(process.program(), Some(&Program::from(*b"one")));
    process.begin_program(None);
    assert!(!process.is_privileged());
    process.set_capabilities(true, true);
    assert_eq!(process.set_user(0), Err(Errno::PERM));
    assert_eq!(process.program(), None);
}

#[test]
fn without_keeping_nothing_can_be_raised() {
    let mut process = user(6);
    process.set_capabilities(true, true);
    assert_eq!(process.set_user(0), Err(Errno::PERM));
    let mut root = Credentials::root();
    root.set_capabilities(true, false);
    assert_eq!(root.set_user(5), Err(Errno::PERM), "root without capabilities");
    root.set_capabilities(true, true);
    root.set_user(5).unwrap();
}

#[test]
fn secure_bits() {
    let mut process = Credentials::root();
    process.set_secure_bits(NO_FIXUP, None);
    process.set_user(5).unwrap();
    assert!(process.is_privileged());
    let mut process = Credentials::root();
    process.set_secure_bits(KEEP, None);
    process.set_user(5).unwrap();
    process.set_capabilities(true, true);
    process.set_user(0).unwrap();
}

/// What differs from program to program would fill the table of credentials.
#[test]
fn only_what_ends_with_a_program_depends_on_it() {
    let one = || Some(Program::from(*b"one"));
    let mut process = Credentials::root();
    process.set_keep(false, one());
    assert_eq!(process, Credentials::root());
    process.set_group(6).unwrap();
    process.set_keep(true, one());
    process.set_user(6).unwrap();
    process.set_keep(false, one());
    assert!(process.program().is_some(), "it may still raise what it kept");
    process.begin_program(Some(Program::from(*b"two")));
    assert_eq!(process, user(6));
    let mut process = Credentials::root();
    process.set_secure_bits(NO_FIXUP, one());
    process.begin_program(Some(Program::from(*b"two")));
    assert_eq!(process.program(), Some(&Program::from(*b"two")), "these bits stay");
}

#[test]
fn a_program_of_root_has_all_again() {
    let mut process = Credentials::root();
    process.set_three_users([0, 5, 0]).unwrap();
    process.begin_program(None);
    assert_eq!(process.user, ids(0, 5, 5));
    assert!(!process.is_privileged());
    process.set_user(0).unwrap();
    assert!(process.is_privileged());
}
