//! Bad records on their way to the dead-letter file: a data sink that is sealed with the epoch.

use std::sync::Arc;

use postrider_store::{
    SinkSeal,
    failpoint::{self, Failpoint},
};

use crate::{
    Connectors, EngineError,
    runtime::{
        coordinator::DEAD_LETTERS,
        fenced::FencedSink,
        seal::{OpenEpoch, Shape},
    },
};

/// Writes the rejects of each epoch.
pub(crate) struct DeadLetters {
    pub(crate) sink: FencedSink,
    pub(crate) connectors: Arc<dyn Connectors>,
}

impl DeadLetters {
    /// Makes the rejects of an epoch durable; what to seal, if there were any.
    pub(crate) async fn write(
        &mut self,
        shape: &Shape,
        open: &OpenEpoch,
    ) -> Result<Option<SinkSeal>, EngineError> {
        if open.rejects() == 0 {
            return Ok(None);
        }
        let failed = |error| EngineError::Sink { sink: DEAD_LETTERS.to_owned(), error };
        let sources = open.sources.values().map(|r| (&shape.sources[r.source], &r.rejects));
        let stages = open.stages.values().map(|r| (&shape.stages[r.stage], &r.rejects));
        for (name, rejects) in sources.chain(stages).filter(|(_, rejects)| !rejects.is_empty()) {
            let rows = self.connectors.dead_letter_rows(name, rejects);
            self.sink.write(&rows.map_err(failed)?).await?;
        }
        let position = self.sink.flush().await?;
        failpoint::pass(Failpoint::DeadLettersFlushed);
        Ok(Some(SinkSeal { sink: DEAD_LETTERS.to_owned(), position }))
    }
}
