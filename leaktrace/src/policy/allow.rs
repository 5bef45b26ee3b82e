//! `--allow RULE[:key=glob]` and `[[allow]]`.

/// One suppression by resource facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// The text as given.
    pub text: String,
    /// Rule id or name.
    pub rule: String,
    /// Facts that must match, each a glob: `comm`, `exe`, `path`, `kind`, `id`.
    pub facts: Vec<(String, String)>,
}
