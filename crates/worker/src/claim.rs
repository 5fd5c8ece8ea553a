use crate::Parts;
use service::stop::Shutdown;
pub(crate) async fn work(_parts: Parts, _shutdown: &Shutdown) {}
