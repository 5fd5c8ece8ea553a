//! jobcast-tests
