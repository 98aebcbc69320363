//! Which cryptography TLS uses: ring, for everything in the process.

/// Makes ring the one provider of rustls. `reqwest` is built without one, because its own choice is a library in C that
/// needs cmake; it looks here, and panics if nothing is there. Comes before the first HTTP client; again does no harm.
pub(crate) fn use_ring() {
    // An error means that one is there already, and nothing else puts one there.
    drop(rustls::crypto::ring::default_provider().install_default());
}
