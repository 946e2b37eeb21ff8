//! The connection pools of one database.

use std::sync::Arc;

use super::connect::Connector;
use crate::source::api::{CONCURRENT_DESCRIPTIONS, SourceOptions};
use crate::source::pool::{Connections, RESERVED_CONNECTIONS};

/// Connections for estimates, which therefore never use a download's connection.
const ESTIMATE_CONNECTIONS: usize = 1;

/// The pools of a connector, one per use.
pub(super) struct Pools {
    pub(super) downloads: Connections<Connector>,
    pub(super) reserved: Connections<Connector>,
    pub(super) estimates: Connections<Connector>,
    /// Its idle connections are closed after each update of the exports.
    pub(super) descriptions: Connections<Connector>,
    pub(super) options: SourceOptions,
}

impl Pools {
    pub(super) fn new(connector: Connector, options: SourceOptions) -> Pools {
        let connector = Arc::new(connector);
        Pools {
            downloads: Connections::new(connector.clone(), options.connections),
            reserved: Connections::new(connector.clone(), RESERVED_CONNECTIONS),
            estimates: Connections::new(connector.clone(), ESTIMATE_CONNECTIONS),
            descriptions: Connections::new(connector, CONCURRENT_DESCRIPTIONS),
            options,
        }
    }
}
