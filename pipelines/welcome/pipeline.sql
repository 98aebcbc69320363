-- Welcome: one email an hour after a sign-up, with an offer for the first order, unless that order is there already.

-- Where events come in: HTTP, in the shape every Segment SDK sends. Time waits a minute for events that are under way, and
-- runs on after two minutes without events, so that a quiet shop fires too.
CREATE TABLE events (
  user_id     TEXT NOT NULL,
  event       TEXT,
  ts          TIMESTAMP NOT NULL,
  email       TEXT,
  first_name  TEXT,
  WATERMARK FOR ts AS ts - INTERVAL '1 minute'
) WITH (connector = 'collector', idle_timeout = INTERVAL '2 minutes');

-- Where trigger rows go out: each becomes at most one email. News that is older than three days stays unsent.
CREATE TABLE welcomes WITH (
  connector = 'email',
  template  = 'template.mjml',
  subject   = 'Welcome{% if first_name %}, {{ first_name }}{% endif %}! The first parcel ships free',
  from      = 'Fern & Oak <hello@fern-and-oak.example>',
  topic     = 'welcome',
  ttl       = INTERVAL '3 days'
);

-- Many accounts are made at the checkout, so an order shortly before the sign-up counts as well.
INSERT INTO welcomes
SELECT user_id                  AS recipient_key,
       'welcome'                AS dedupe_key,  -- the same for everybody: a customer is welcomed once, ever
       ts + INTERVAL '1 hour'   AS fire_ts,     -- the three days of `ttl` count from here
       email,
       first_name
FROM events AS signup
WHERE event = 'Signed Up'
  AND NOT EXISTS (
    SELECT 1
    FROM events AS bought
    WHERE bought.user_id = signup.user_id
      AND bought.event = 'Order Completed'
      AND bought.ts BETWEEN signup.ts - INTERVAL '1 hour' AND signup.ts + INTERVAL '1 hour'  -- both ends count
  );
