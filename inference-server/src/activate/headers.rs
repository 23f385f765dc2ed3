//! The head of a client's request in; the head that a pod gets out, and the same for answers. Pure: no body is touched.

use std::time::Duration;

use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri,
    header::{CONNECTION, EXPECT, TE, TRANSFER_ENCODING, UPGRADE},
    uri::Scheme,
};

use super::upstream::Protocol;

/// Headers that speak of one connection and not of the request, beside those that `connection` names.
const OF_A_CONNECTION: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    UPGRADE,
    // The client is told to go on when its body is first read here.
    EXPECT,
];

/// The headers of a request or an answer as the other side gets them. One that changes the protocol keeps those that say so.
pub fn passed_on(headers: &mut HeaderMap, upgrade: bool) {
    let upgraded = headers.get(UPGRADE).cloned().filter(|_| upgrade);
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_A_CONNECTION) {
        // Who speaks gRPC must say that it reads trailers.
        if *name != TE {
            headers.remove(name);
        }
    }
    if let Some(upgraded) = upgraded {
        headers.insert(UPGRADE, upgraded);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Whether a request of HTTP/1.1 asks for another protocol, or one of HTTP/2 for a tunnel.
pub fn asks_for_upgrade(method: &Method, headers: &HeaderMap) -> bool {
    let has_upgrade = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or_default();
        text.split(',')
            .any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
    };
    *method == Method::CONNECT
        || (headers.contains_key(UPGRADE) && headers.get_all(CONNECTION).iter().any(has_upgrade))
}

/// The address of a request as a pod gets it: a path over HTTP/1.1, whole over HTTP/2.
pub fn address(uri: &Uri, protocol: Protocol) -> Uri {
    let mut parts = uri.clone().into_parts();
    if protocol == Protocol::Http1 {
        (parts.scheme, parts.authority) = (None, None);
    } else {
        parts.scheme = Some(Scheme::HTTP);
        let pod = || axum::http::uri::Authority::from_static("pod");
        parts.authority.get_or_insert_with(pod);
    }
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// What is left of a deadline, as `grpc-timeout` says it.
pub fn grpc_timeout(left: Duration) -> HeaderValue {
    // At most eight digits.
    let (amount, unit) = match left.as_millis() {
        millis @ 0..100_000_000 => (millis, 'm'),
        millis => ((millis / 1000).min(99_999_999), 'S'),
    };
    HeaderValue::from_str(&format!("{amount}{unit}")).unwrap_or_else(|_| HeaderValue::from_static("1m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn headers_of_a_connection_stay_behind() {
        let mut given = headers(&[
            ("connection", "keep-alive, x-mine"),
            ("x-mine", "1"),
            ("expect", "100-continue"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("transfer-encoding", "chunked"),
            ("authorization", "Bearer a"),
        ]);
        passed_on(&mut given, false);
        assert_eq!(
            given,
            headers(&[("te", "trailers"), ("authorization", "Bearer a")])
        );
    }

    #[test]
    fn a_websocket_keeps_what_opens_it() {
        let asked = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert!(asks_for_upgrade(&Method::GET, &asked));
        let mut passed = asked.clone();
        passed_on(&mut passed, true);
        assert_eq!(
            passed,
            headers(&[("connection", "upgrade"), ("upgrade", "websocket")])
        );
        assert!(!asks_for_upgrade(
            &Method::GET,
            &headers(&[("upgrade", "websocket")])
        ));
        assert!(asks_for_upgrade(&Method::CONNECT, &HeaderMap::new()));
    }

    #[test]
    fn addresses_are_as_the_protocol_has_them() {
        let of = |uri: &str, protocol| address(&uri.parse().unwrap(), protocol).to_string();
        assert_eq!(of("http://stt:8080/v1/a?b=c", Protocol::Http1), "/v1/a?b=c");
        assert_eq!(of("/v1/a?b=c", Protocol::Http1), "/v1/a?b=c");
        assert_eq!(
            of("https://stt:8080/v1/a", Protocol::Http2),
            "http://stt:8080/v1/a"
        );
        assert_eq!(of("/a.B/C", Protocol::Grpc), "http://pod/a.B/C");
    }

    #[test]
    fn what_is_left_of_a_deadline_fits_in_eight_digits() {
        let said = |left| grpc_timeout(left).to_str().unwrap().to_owned();
        assert_eq!(said(Duration::from_millis(1500)), "1500m");
        assert_eq!(said(Duration::from_secs(99_999)), "99999000m");
        assert_eq!(said(Duration::from_secs(200_000)), "200000S");
        assert_eq!(said(Duration::MAX), "99999999S");
    }
}
