//! `leaktrace policy`: the policy in force, whether a file is right, and its schema. Finding and
//! reading the file is here too.

use std::{
    fs,
    os::unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use sha2::{Digest, Sha256};

use super::{Ending, Failure, Outcome, tolerate};
use crate::{
    census::host,
    launch::User,
    policy::{
        Policy,
        date::Date,
        defaults::Known,
        file::{self, FileError},
        show,
    },
    sink::{escape_str, human::counted},
};

/// What is looked for.
const NAME: &str = "leaktrace.toml";

/// Arguments of `policy`.
#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Say whether a policy file is right; without FILE, the one that would be used here.
    Check {
        /// The file.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the policy in force here: settings, suppressions, known caches and daemons.
    Show {
        /// What is in force without a file.
        #[arg(long)]
        defaults: bool,
        /// Read this file instead of looking for one.
        #[arg(long, value_name = "FILE", conflicts_with = "defaults")]
        policy: Option<PathBuf>,
    },
    /// Print the JSON Schema of leaktrace.toml, for editors.
    Schema,
}

pub(super) fn run(args: &PolicyArgs) -> Outcome {
    match &args.command {
        PolicyCommand::Check { file } => check(file.as_deref())?,
        PolicyCommand::Show { defaults, policy } => {
            let policy = match defaults {
                true => Policy::default(),
                false => load(policy.as_deref())?,
            };
            let text = format!("{}\n{}", show::show(&policy), Known::default().show());
            super::say(&text)?;
        }
        PolicyCommand::Schema => super::say(&file::schema())?,
    }
    Ok(Ending::Code(0))
}

fn check(file: Option<&Path>) -> Result<(), Failure> {
    let policy = load(file)?;
    let Some((path, _)) = &policy.file else {
        return Err(Failure::usage(format!(
            "there is no {NAME} here or above; name the file, as in `leaktrace policy check FILE`"
        )));
    };
    let today = today();
    let expired = policy.allow.iter().filter(|it| it.is_expired(today));
    let expired: Vec<String> = expired
        .map(|allow| {
            let place = escape_str(allow.source.as_deref().unwrap_or_default());
            let day = allow.expires.map(|day| day.to_string()).unwrap_or_default();
            let form = escape_str(&allow.form());
            format!("{place}: the suppression {form} expired on {day}\n")
        })
        .collect();
    super::say(&format!(
        "{}{}: right: {}, {}, {}\n",
        expired.concat(),
        escape_str(path),
        counted(policy.allow.len() as u64, "suppression", "suppressions"),
        counted(policy.expect.len() as u64, "expectation", "expectations"),
        counted(
            policy.programs.len() as u64,
            "program section",
            "program sections"
        ),
    ))
}

fn today() -> Date {
    Date::of_realtime(host::clock().map(|clock| clock.realtime_ns).unwrap_or(0))
}

/// Reads the file that is named, else the one found from the working directory upwards, else
/// nothing.
///
/// # Errors
/// It cannot be read or is wrong: a usage error with the line.
pub(super) fn load(named: Option<&Path>) -> Result<Policy, Failure> {
    let found = match named {
        Some(path) => Some(path.to_owned()),
        None => find(),
    };
    let Some(path) = found else {
        return Ok(Policy::default());
    };
    let text = tolerate::read("--policy", &path)?;
    let shown = path.to_string_lossy();
    let mut policy = file::parse(&shown, &text).map_err(|error| wrong(&path, &error))?;
    let hash = Sha256::digest(text.as_bytes());
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    policy.file = Some((shown.into_owned(), hash));
    let base = std::path::absolute(&path).unwrap_or(path);
    let base = base.parent().unwrap_or(Path::new("/"));
    for root in &mut policy.temp_roots {
        let text = String::from_utf8_lossy(root).into_owned();
        *root = base.join(text).into_os_string().into_vec();
    }
    Ok(policy)
}

/// A wrong file in one sentence.
pub(super) fn wrong(path: &Path, error: &FileError) -> Failure {
    let line = error
        .line
        .map(|line| format!(":{line}"))
        .unwrap_or_default();
    let text = escape_str(&error.text);
    Failure::usage(format!("{}{line}: {text}", tolerate::shown(path)))
}

/// The nearest file from the working directory upwards. One that somebody else put there (into
/// /tmp, above a checkout) is not taken: it must belong to root, to the user, or to whom the
/// working directory belongs.
fn find() -> Option<PathBuf> {
    let cwd = std::env::current_dir().ok()?;
    let own = rustix::process::geteuid().as_raw();
    let user = User::invoking().ok().flatten().map(|user| user.uid);
    let of_cwd = fs::metadata(&cwd).ok().map(|it| it.uid());
    let trusted = |uid: u32| uid == 0 || uid == own || [user, of_cwd].contains(&Some(uid));
    cwd.ancestors()
        .map(|above| above.join(NAME))
        .find(|path| fs::metadata(path).is_ok_and(|it| it.is_file() && trusted(it.uid())))
        .map(|path| match path.strip_prefix(&cwd) {
            Ok(below) => below.to_owned(),
            Err(_) => path,
        })
}
