-- Milestone: one email for a customer's 10th, 50th and 100th order, each once ever.

-- Where events come in: HTTP, in the shape every Segment SDK sends. Time waits ten minutes for events that are under way, since
-- orders are counted as they happened, and runs on after fifteen minutes without events.
CREATE TABLE events (
  user_id     TEXT NOT NULL,
  event       TEXT,
  ts          TIMESTAMP NOT NULL,
  email       TEXT,
  first_name  TEXT,
  WATERMARK FOR ts AS ts - INTERVAL '10 minutes'
) WITH (connector = 'collector', idle_timeout = INTERVAL '15 minutes');

-- Where trigger rows go out: each becomes at most one email. Cheers that are older than three days stay unsent.
CREATE TABLE milestones WITH (
  connector = 'email',
  template  = 'template.mjml',
  subject   = 'Your order number {{ nth }}, and a thank you',
  from      = 'Fern & Oak <hello@fern-and-oak.example>',
  topic     = 'milestone',
  ttl       = INTERVAL '3 days'
);

INSERT INTO milestones
SELECT user_id             AS recipient_key,
       'orders:' || nth    AS dedupe_key,  -- each of them once ever
       ts                  AS fire_ts,     -- the three days of `ttl` count from here
       email,
       first_name,
       nth,
       since
FROM (
  SELECT *,
         row_number()    OVER w AS nth,
         first_value(ts) OVER w AS since
  FROM events
  WHERE event = 'Order Completed'
  WINDOW w AS (PARTITION BY user_id ORDER BY ts)
)
WHERE nth IN (10, 50, 100);
