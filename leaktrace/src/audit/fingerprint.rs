//! What of an observation is the same in the next run.

use std::collections::BTreeMap;

use crate::{
    audit::{
        case::{Case, Observation},
        resource,
        roots::{self, Roots},
        stack,
    },
    id::ProcessKey,
    model::facts::ProcessFacts,
    policy::fingerprint::{self, Identity, Root},
    report::Resource,
};

/// Programs whose first argument is what runs.
const INTERPRETERS: [&str; 15] = [
    "sh", "bash", "dash", "zsh", "ksh", "busybox", "python", "perl", "ruby", "node", "php", "lua",
    "tclsh", "bats", "Rscript",
];

/// Ports below are chosen by people (net.ipv4.ip_local_port_range begins here by default).
const FIRST_EPHEMERAL: u16 = 32_768;

/// Ancestors looked through for a script.
const ANCESTORS: usize = 64;

/// Makes identities; remembers each process's script.
pub(crate) struct Identities<'a> {
    case: &'a Case<'a>,
    roots: Roots<'a>,
    scripts: BTreeMap<ProcessKey, String>,
}

impl<'a> Identities<'a> {
    pub(crate) fn new(case: &'a Case<'a>) -> Self {
        Identities {
            case,
            roots: Roots::new(case.start),
            scripts: BTreeMap::new(),
        }
    }

    /// The identity of an observation of a rule.
    pub(crate) fn of(
        &mut self,
        rule: &str,
        seen: &Observation,
        process: &ProcessFacts,
        scope: Option<&str>,
    ) -> Identity {
        let exe = process.exe.as_deref().unwrap_or(&process.comm);
        let other = seen.other.as_ref();
        Identity {
            rule: rule.to_owned(),
            program: fingerprint::program(&resource::text(exe)),
            script: self.script(process.key),
            scope: scope.unwrap_or_default().to_owned(),
            kind: seen.resource.kind.clone(),
            place: self.place(&seen.resource),
            other: other
                .map(|other| format!("{} {}", other.kind, self.place(other)))
                .unwrap_or_default(),
            detail: detail(seen, process),
        }
    }

    /// The script that a process runs, or the nearest of its ancestors that runs one.
    fn script(&mut self, key: ProcessKey) -> String {
        if let Some(known) = self.scripts.get(&key) {
            return known.clone();
        }
        let mut at = self.case.process(key);
        let mut found = None;
        for _ in 0..ANCESTORS {
            let Some(process) = at else { break };
            found = self.own_script(process);
            if found.is_some() {
                break;
            }
            at = self.case.process(process.parent);
        }
        let script = found.unwrap_or_default();
        self.scripts.insert(key, script.clone());
        script
    }

    fn own_script(&self, process: &ProcessFacts) -> Option<String> {
        let exe = resource::text(process.exe.as_deref()?);
        let name = last(&exe).trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        if !INTERPRETERS.contains(&name) {
            return None;
        }
        let mut arguments = process.argv.iter().skip(1).map(|word| resource::text(word));
        let first = arguments.next()?;
        match first.strip_prefix('-') {
            None => Some(self.script_name(&first, process)),
            // A module has a name of its own; a text given with -c or -e has none.
            Some("m") => arguments.next(),
            Some(_) => {
                let options_end = |word: &String| !word.starts_with('-');
                let inline = first == "-c" || first == "-e";
                let script = arguments.find(options_end).filter(|_| !inline)?;
                let by_name = script.contains('/') || script.contains('.');
                by_name.then(|| self.script_name(&script, process))
            }
        }
    }

    /// Relative to where the run began, if it is below; else its name alone.
    fn script_name(&self, script: &str, process: &ProcessFacts) -> String {
        let absolute = match (script.starts_with('/'), process.cwd.as_deref()) {
            (true, _) | (false, None) => script.to_owned(),
            (false, Some(cwd)) => {
                let cwd = resource::text(cwd);
                let relative = script.strip_prefix("./").unwrap_or(script);
                format!("{}/{relative}", cwd.trim_end_matches('/'))
            }
        };
        match self.root(&absolute) {
            Root::Output(inside) => inside.to_owned(),
            // A checkout that the run did not begin in may be anywhere.
            Root::Temp(path) => fingerprint::outline(last(path)),
            Root::Elsewhere => last(script).to_owned(),
        }
    }

    fn root<'b>(&self, path: &'b str) -> Root<'b> {
        match self.roots.place(path.as_bytes()) {
            // The rest begins behind a slash, so it is text again.
            roots::Place::Temp { inside, .. } => Root::Temp(&path[path.len() - inside.len()..]),
            roots::Place::Output => {
                let cwd = resource::text(&self.case.start.cwd);
                let inside = path.strip_prefix(cwd.trim_end_matches('/'));
                Root::Output(inside.map_or(path, |inside| inside.trim_start_matches('/')))
            }
            roots::Place::Elsewhere => Root::Elsewhere,
        }
    }

    fn place(&self, resource: &Resource) -> String {
        match (&resource.path, resource.kind.as_str()) {
            // Its executable is the program already.
            (_, "process") => String::new(),
            (Some(path), _) if path.starts_with('/') => fingerprint::place(self.root(path), path),
            (Some(name), _) => name.clone(),
            (None, _) => {
                let ends = [&resource.local, &resource.peer];
                let ends = ends.map(|end| end.as_deref().map(address).unwrap_or_default());
                ends.join(">").trim_matches('>').to_owned()
            }
        }
    }
}

/// The last part of a path.
fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// An address without the port, if the kernel has chosen that.
fn address(text: &str) -> String {
    let Some((host, port)) = text.rsplit_once(':') else {
        return text.to_owned();
    };
    match port.parse::<u16>() {
        Ok(port) if port >= FIRST_EPHEMERAL || port == 0 => host.to_owned(),
        Ok(_) | Err(_) => text.to_owned(),
    }
}

/// What helps to tell several alike apart, though it may change from run to run.
fn detail(seen: &Observation, process: &ProcessFacts) -> String {
    let argv = resource::text(&process.argv.join(&b' '));
    let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
    let fd = seen.resource.fd.and_then(|fd| u64::try_from(fd).ok());
    let site = stack::site(&seen.resource.stack).unwrap_or_default();
    [
        number(seen.resource.bytes),
        number(fd),
        argv,
        site.to_owned(),
    ]
    .join(" ")
    .trim_end()
    .to_owned()
}

#[cfg(test)]
#[path = "fingerprint_tests.rs"]
mod tests;
