-- Browse abandonment: one email about the last product that a customer looked at, two hours after they stopped looking, unless
-- they put something in a cart or ordered. One a day at most.

-- Where events come in: HTTP, in the shape every Segment SDK sends. Time waits a minute for events that are under way, and
-- runs on after two minutes without events, so that a quiet shop fires too.
CREATE TABLE events (
  user_id      TEXT NOT NULL,
  event        TEXT,
  ts           TIMESTAMP NOT NULL,
  email        TEXT,
  first_name   TEXT,
  product      TEXT,
  product_url  TEXT,
  WATERMARK FOR ts AS ts - INTERVAL '1 minute'
) WITH (connector = 'collector', idle_timeout = INTERVAL '2 minutes');

-- Where trigger rows go out: each becomes at most one email. News that is older than twelve hours stays unsent.
CREATE TABLE reminders WITH (
  connector = 'email',
  template  = 'template.mjml',
  subject   = 'Still thinking about the {{ product }}?',
  from      = 'Fern & Oak <hello@fern-and-oak.example>',
  topic     = 'recommendations',
  ttl       = INTERVAL '12 hours'
);

-- A view waits for two hours, and leaves if the customer did none of these in that time.
INSERT INTO reminders
SELECT user_id                        AS recipient_key,
       'browse:' || CAST(ts AS DATE)  AS dedupe_key,  -- one a day, by the day (UTC) on which they looked
       ts + INTERVAL '2 hours'        AS fire_ts,     -- the twelve hours of `ttl` count from here
       email,
       first_name,
       product,
       product_url
FROM events AS viewed
WHERE event = 'Product Viewed'
  AND product <> ''                                                      -- nor NULL: the subject needs a name
  AND NOT EXISTS (
    SELECT 1
    FROM events AS later
    WHERE later.user_id = viewed.user_id
      AND later.event IN ('Product Viewed', 'Cart Updated', 'Order Completed')
      AND later.ts BETWEEN viewed.ts AND viewed.ts + INTERVAL '2 hours'  -- both ends of the two hours count
      AND (later.event <> 'Product Viewed' OR later.ts > viewed.ts)      -- a view does not cancel itself
  );
