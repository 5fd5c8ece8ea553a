//! Who asks: the one place that looks at credentials.

use std::collections::BTreeSet;

use axum::extract::{FromRequestParts, Query};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use model::stream_token::{Refused, StreamToken};
use model::{Clock, JobId, Owner, SystemClock};
use serde::Deserialize;
use service::config::{AuthConfig, Scope, TokenKey};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::App;
use crate::header::single;
use crate::problem::Problem;

/// The owner and the scopes of a request, from its API key; or `anonymous` where configuration allows requests without one.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Whose jobs the request may see.
    pub(crate) owner: Owner,
    scopes: BTreeSet<Scope>,
}

impl Caller {
    /// Refuses a caller without `scope`.
    pub(crate) fn must(&self, scope: Scope) -> Result<(), Problem> {
        if self.scopes.contains(&scope) { Ok(()) } else { Err(Problem::MissingScope(scope.as_str())) }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let key = match single(&parts.headers, &AUTHORIZATION)? {
            None => None,
            Some(value) => Some(bearer(value).ok_or(Problem::Unauthenticated)?),
        };
        find(&app.config().auth, key)
    }
}

/// Who follows a stream: a caller with the scope `read`, or who has a stream token.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    /// Whose jobs.
    pub(crate) owner: Owner,
    token: Option<StreamToken>,
}

#[derive(Deserialize)]
struct TokenQuery {
    token: Option<String>,
}

impl Viewer {
    /// Refuses a viewer whose token is not for the stream of all `jobs`.
    pub(crate) fn may_stream(&self, jobs: &[JobId]) -> Result<(), Problem> {
        match &self.token {
            Some(token) if !jobs.iter().all(|&job| token.allows_job(job)) => Err(Problem::WrongToken),
            _ => Ok(()),
        }
    }

    /// Refuses a viewer whose token is not for the owner's feed.
    pub(crate) fn may_stream_feed(&self) -> Result<(), Problem> {
        match &self.token {
            Some(token) if !token.allows_feed() => Err(Problem::WrongToken),
            _ => Ok(()),
        }
    }
}

impl FromRequestParts<App> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Query(TokenQuery { token }) = Query::from_request_parts(parts, app).await?;
        match token {
            // A key says more than a token; whoever sends both is asked about the key.
            Some(text) if !parts.headers.contains_key(AUTHORIZATION) => {
                let keys = app.config().auth.token_keys.iter().map(TokenKey::as_bytes);
                let token =
                    StreamToken::verify(&text, keys, SystemClock.now()).map_err(|refused| match refused {
                        Refused::Invalid => Problem::InvalidToken,
                        Refused::Expired => Problem::ExpiredToken,
                    })?;
                Ok(Self { owner: token.owner.clone(), token: Some(token) })
            }
            _ => {
                let caller = Caller::from_request_parts(parts, app).await?;
                caller.must(Scope::Read)?;
                Ok(Self { owner: caller.owner, token: None })
            }
        }
    }
}

/// The token of `Bearer <token>` (RFC 6750; the scheme's name in any case).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim()).filter(|token| !token.is_empty())
}

fn find(auth: &AuthConfig, key: Option<&str>) -> Result<Caller, Problem> {
    let Some(key) = key else {
        if !auth.anonymous {
            return Err(Problem::Unauthenticated);
        }
        return Ok(Caller {
            owner: Owner::anonymous(),
            scopes: [Scope::Submit, Scope::Read, Scope::Work].into(),
        });
    };
    let hash = Sha256::digest(key.as_bytes());
    // Looks at every key and every byte, so that the time taken says nothing of how near a guess was.
    let mut found = 0_u32;
    for (number, known) in (1..).zip(&auth.keys) {
        let same: Choice = hash.as_slice().ct_eq(known.sha256.as_bytes().as_slice());
        found.conditional_assign(&number, same);
    }
    let index = usize::try_from(found).unwrap_or_default().checked_sub(1).ok_or(Problem::Unauthenticated)?;
    let known = auth.keys.get(index).ok_or(Problem::Unauthenticated)?;
    Ok(Caller { owner: known.owner.clone(), scopes: known.scopes.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(anonymous: bool) -> AuthConfig {
        let text = format!(
            "anonymous = {anonymous}\nkeys = [{{ owner = \"acme\", sha256 = \"{}\", scopes = [\"read\"] }}]",
            model::fingerprint::sha256(b"secret")
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn a_key_says_the_owner_and_its_scopes() {
        let caller = find(&auth(false), Some("secret")).unwrap();
        assert_eq!(caller.owner.as_str(), "acme");
        assert!(caller.must(Scope::Read).is_ok());
        assert!(matches!(caller.must(Scope::Submit), Err(Problem::MissingScope("submit"))));
    }

    #[test]
    fn no_key_is_anonymous_only_where_allowed_and_a_wrong_one_never() {
        assert!(matches!(find(&auth(false), None), Err(Problem::Unauthenticated)));
        let caller = find(&auth(true), None).unwrap();
        assert_eq!(caller.owner, Owner::anonymous());
        assert!(caller.must(Scope::Admin).is_err());
        for wrong in ["", "secre", "Secret", "secret "] {
            assert!(matches!(find(&auth(true), Some(wrong)), Err(Problem::Unauthenticated)), "{wrong:?}");
        }
    }

    #[test]
    fn bearer_is_read_in_any_case() {
        for (value, token) in [
            ("Bearer a", Some("a")),
            ("bearer  a", Some("a")),
            ("Basic a", None),
            ("Bearer", None),
            ("Bearer ", None),
        ] {
            assert_eq!(bearer(value), token, "{value:?}");
        }
    }
}
