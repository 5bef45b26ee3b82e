//! Who CMD runs as.

use std::{
    ffi::{CStr, CString, OsStr},
    os::unix::ffi::OsStrExt,
};

use libc::{gid_t, uid_t};

/// A user to become before exec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Real, effective and saved uid.
    pub uid: uid_t,
    /// Real, effective and saved gid.
    pub gid: gid_t,
    /// Supplementary groups, the primary one included.
    pub groups: Vec<gid_t>,
}

/// Why there is no such user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Neither a name nor a number known to the user database.
    #[error("there is no user `{0}`")]
    Unknown(String),
    /// $SUDO_UID or $SUDO_GID is not a number.
    #[error("${0} is `{1}`, which is not a number")]
    BadSudo(&'static str, String),
}

struct Entry {
    name: CString,
    uid: uid_t,
    gid: gid_t,
}

impl User {
    /// The user that ran sudo, if this process is root because of sudo; `None`: CMD runs as
    /// leaktrace does.
    ///
    /// # Errors
    /// $SUDO_UID or $SUDO_GID is not a number.
    pub fn invoking() -> Result<Option<User>, UserError> {
        // SAFETY: geteuid cannot fail and has no preconditions.
        if unsafe { libc::geteuid() } != 0 {
            return Ok(None);
        }
        let (Some(uid), Some(gid)) = (number("SUDO_UID")?, number("SUDO_GID")?) else {
            return Ok(None);
        };
        let groups = match by_uid(uid) {
            Some(entry) => groups_of(&entry.name, gid),
            None => vec![gid],
        };
        Ok(Some(User { uid, gid, groups }))
    }

    /// The user of `--user`, by name or number.
    ///
    /// # Errors
    /// There is no such user.
    pub fn named(word: &OsStr) -> Result<User, UserError> {
        let unknown = || UserError::Unknown(word.to_string_lossy().into_owned());
        let name = CString::new(word.as_bytes()).map_err(|_| unknown())?;
        let by_number = || word.to_str()?.parse().ok().and_then(by_uid);
        let entry = by_name(&name).or_else(by_number).ok_or_else(unknown)?;
        Ok(User {
            uid: entry.uid,
            gid: entry.gid,
            groups: groups_of(&entry.name, entry.gid),
        })
    }
}

fn number(variable: &'static str) -> Result<Option<u32>, UserError> {
    let Some(text) = std::env::var_os(variable) else {
        return Ok(None);
    };
    let text = text.to_string_lossy().into_owned();
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(UserError::BadSudo(variable, text)),
    }
}

fn by_name(name: &CStr) -> Option<Entry> {
    // SAFETY: called before any thread exists, so the static result is ours.
    unsafe { entry(libc::getpwnam(name.as_ptr())) }
}

fn by_uid(uid: uid_t) -> Option<Entry> {
    // SAFETY: called before any thread exists, so the static result is ours.
    unsafe { entry(libc::getpwuid(uid)) }
}

/// # Safety
/// `passwd` is null or a valid entry that nobody changes meanwhile.
unsafe fn entry(passwd: *const libc::passwd) -> Option<Entry> {
    // SAFETY: as the caller promises; pw_name is a C string.
    unsafe {
        let passwd = passwd.as_ref()?;
        Some(Entry {
            name: CStr::from_ptr(passwd.pw_name).to_owned(),
            uid: passwd.pw_uid,
            gid: passwd.pw_gid,
        })
    }
}

/// Supplementary groups as initgroups(3) would set them; asked before the fork, because nothing
/// that allocates or talks to name services may run in the child.
fn groups_of(name: &CStr, gid: gid_t) -> Vec<gid_t> {
    let mut room = 64;
    loop {
        let mut groups = vec![0; room];
        let mut count = room as libc::c_int;
        // SAFETY: `groups` has room for `count` ids.
        let done =
            unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &mut count) };
        let count = count.max(0) as usize;
        if done >= 0 {
            groups.truncate(count);
            return groups;
        }
        // NGROUPS_MAX is 65536 (limits.h); more than that cannot be set anyway.
        if room >= 65536 {
            return vec![gid];
        }
        room = count.max(room * 2).min(65536);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_by_number() {
        let by_name = User::named(OsStr::new("root")).ok();
        assert_eq!(by_name, User::named(OsStr::new("0")).ok());
        assert_eq!(by_name.map(|user| (user.uid, user.gid)), Some((0, 0)));
    }

    #[test]
    fn an_unknown_user_is_named_in_the_error() {
        let error = User::named(OsStr::new("no such user")).err();
        assert_eq!(error, Some(UserError::Unknown("no such user".into())));
    }
}
