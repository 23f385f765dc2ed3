//! An error in; what is at its bottom, in words that hold no address and no secret, out. Pure.

/// The cause at the bottom, which is the one that a person can do something about.
pub(crate) fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    // A `reqwest::Error` that is its own cause would quote its address.
    match cause.downcast_ref::<reqwest::Error>() {
        Some(own) if own.is_timeout() => "it is silent".to_owned(),
        Some(own) if own.is_connect() => "no connection".to_owned(),
        Some(_) => "the exchange failed".to_owned(),
        None => cause.to_string(),
    }
}
