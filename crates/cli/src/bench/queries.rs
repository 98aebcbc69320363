//! The queries of the benchmark: each for the engine, and the same for DataFusion in batch.
//!
//! Both results have a column `n`; its sum and the number of rows are what the two must agree on.

use clap::ValueEnum;

use super::input::BenchInput;

/// A query to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchQuery {
    /// Five of nine columns
    Project,
    /// Purchases above 400
    Filter,
    /// Two fields of a JSON column
    Json,
    /// One-minute windows by customer
    Tumble,
    /// Purchases by customer in an hour, each minute
    Hop,
    /// Sessions by customer with a gap of 30 minutes
    Session,
    /// Purchases within 30 minutes of a cart
    Join,
    /// Carts without a purchase within 30 minutes
    Absence,
    /// Distinct products by customer in ten minutes, each minute
    Distinct,
    /// All events by customer in an hour, each minute
    HopAll,
    /// Events whose id was not there in the ten minutes before
    Dedup,
}

impl BenchQuery {
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether it looks at one row at a time, so that lateness does not matter.
    pub(super) const fn is_timeless(self) -> bool {
        matches!(self, Self::Project | Self::Filter | Self::Json)
    }

    /// The SELECT over the stream `events`.
    pub(super) const fn streaming(self) -> &'static str {
        match self {
            Self::Project => {
                "SELECT event_id, ts, customer_id, event_type, amount, CAST(1 AS BIGINT) AS n FROM events"
            }
            Self::Filter => {
                "SELECT event_id, customer_id, amount, CAST(1 AS BIGINT) AS n FROM events \
                 WHERE event_type = 'purchase' AND amount > 400"
            }
            Self::Json => {
                "SELECT event_id, context ->> 'ip' AS ip, context ->> 'locale' AS locale, CAST(1 AS BIGINT) AS n FROM events"
            }
            Self::Tumble => {
                "SELECT customer_id, tumble(INTERVAL '1 minute') AS w, count(*) AS n, sum(amount) AS amount \
                 FROM events WHERE event_type <> 'heartbeat' GROUP BY customer_id, w"
            }
            Self::Hop => {
                "SELECT customer_id, hop(INTERVAL '1 minute', INTERVAL '1 hour') AS w, count(*) AS n, \
                 sum(amount) AS amount FROM events WHERE event_type = 'purchase' \
                 GROUP BY customer_id, w HAVING sum(amount) > 1000"
            }
            Self::Session => {
                "SELECT customer_id, session(INTERVAL '30 minutes') AS w, count(*) AS n, \
                 count(*) FILTER (WHERE event_type = 'add_to_cart') AS carts FROM events \
                 GROUP BY customer_id, w HAVING count(*) FILTER (WHERE event_type = 'purchase') = 0"
            }
            Self::Join => {
                "SELECT c.customer_id, c.product_id, p.amount, CAST(1 AS BIGINT) AS n \
                 FROM events c JOIN events p ON c.customer_id = p.customer_id \
                   AND p.ts BETWEEN c.ts AND c.ts + INTERVAL '30 minutes' \
                 WHERE c.event_type = 'add_to_cart' AND p.event_type = 'purchase'"
            }
            Self::Absence => {
                "SELECT customer_id, product_id, CAST(1 AS BIGINT) AS n FROM events c \
                 WHERE event_type = 'add_to_cart' AND NOT EXISTS (SELECT 1 FROM events p \
                   WHERE p.customer_id = c.customer_id AND p.event_type = 'purchase' \
                     AND p.ts BETWEEN c.ts AND c.ts + INTERVAL '30 minutes')"
            }
            Self::Distinct => {
                "SELECT customer_id, hop(INTERVAL '1 minute', INTERVAL '10 minutes') AS w, \
                 count(DISTINCT product_id) AS n FROM events WHERE event_type <> 'heartbeat' \
                 GROUP BY customer_id, w HAVING count(DISTINCT product_id) > 1"
            }
            Self::HopAll => {
                "SELECT customer_id, hop(INTERVAL '1 minute', INTERVAL '1 hour') AS w, count(*) AS n, \
                 sum(amount) AS amount FROM events GROUP BY customer_id, w HAVING sum(amount) > 20000"
            }
            Self::Dedup => {
                "SELECT event_id, customer_id, amount, CAST(1 AS BIGINT) AS n FROM events \
                 QUALIFY count(*) OVER (PARTITION BY event_id ORDER BY ts \
                   RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW) = 1"
            }
        }
    }

    /// The SELECT over the table `events`, in the fastest form that we know of. A hop is computed of partial aggregates by minute where
    /// that can be.
    pub(super) const fn batch(self, input: BenchInput) -> &'static str {
        match self {
            // JSON in a text; of NDJSON a struct is faster.
            Self::Json if matches!(input, BenchInput::Parquet) => self.streaming(),
            Self::Project | Self::Filter | Self::Join | Self::Absence | Self::Dedup => {
                self.streaming()
            }
            Self::Json => {
                "SELECT event_id, context['ip'] AS ip, context['locale'] AS locale, CAST(1 AS BIGINT) AS n FROM events"
            }
            Self::Tumble => {
                "SELECT customer_id, date_bin(INTERVAL '1 minute', ts) AS w, count(*) AS n, \
                 sum(amount) AS amount FROM events WHERE event_type <> 'heartbeat' GROUP BY 1, 2"
            }
            Self::Hop => {
                "SELECT customer_id, CAST(minute AS BIGINT) - back * 60000000000 AS w, sum(m) AS n, sum(part) AS amount \
                 FROM (SELECT customer_id, minute, m, part, unnest(generate_series(0, 59)) AS back FROM \
                   (SELECT customer_id, date_bin(INTERVAL '1 minute', ts) AS minute, count(*) AS m, \
                    sum(amount) AS part FROM events WHERE event_type = 'purchase' GROUP BY 1, 2)) \
                 GROUP BY 1, 2 HAVING sum(part) > 1000"
            }
            Self::Session => {
                "SELECT customer_id, number, count(*) AS n, \
                 count(*) FILTER (WHERE event_type = 'add_to_cart') AS carts FROM \
                   (SELECT *, sum(opens) OVER (PARTITION BY customer_id ORDER BY ts) AS number FROM \
                     (SELECT customer_id, event_type, ts, CASE WHEN ts - lag(ts) OVER \
                        (PARTITION BY customer_id ORDER BY ts) <= INTERVAL '30 minutes' THEN 0 ELSE 1 END AS opens \
                      FROM events)) \
                 GROUP BY 1, 2 HAVING count(*) FILTER (WHERE event_type = 'purchase') = 0"
            }
            Self::Distinct => {
                "SELECT customer_id, CAST(minute AS BIGINT) - back * 60000000000 AS w, count(DISTINCT product_id) AS n \
                 FROM (SELECT customer_id, minute, product_id, unnest(generate_series(0, 9)) AS back FROM \
                   (SELECT DISTINCT customer_id, date_bin(INTERVAL '1 minute', ts) AS minute, product_id \
                    FROM events WHERE event_type <> 'heartbeat')) \
                 GROUP BY 1, 2 HAVING count(DISTINCT product_id) > 1"
            }
            Self::HopAll => {
                "SELECT customer_id, CAST(minute AS BIGINT) - back * 60000000000 AS w, sum(m) AS n, sum(part) AS amount \
                 FROM (SELECT customer_id, minute, m, part, unnest(generate_series(0, 59)) AS back FROM \
                   (SELECT customer_id, date_bin(INTERVAL '1 minute', ts) AS minute, count(*) AS m, \
                    sum(amount) AS part FROM events GROUP BY 1, 2)) \
                 GROUP BY 1, 2 HAVING sum(part) > 20000"
            }
        }
    }
}
