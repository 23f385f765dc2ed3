//! A text that is never written anywhere but into a request.

use std::fmt;

/// A token or password. Its `Debug` says nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Whether there is none: a variable may be set to nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text, for the request that needs it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    /// White space around it is an editor's, not the token's.
    fn from(text: String) -> Secret {
        Secret(text.trim().to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
