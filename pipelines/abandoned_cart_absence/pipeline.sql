-- Abandoned cart, by absence: each step that leaves something in a cart starts an hour of its own. If that hour passes
-- without an order, one email.

-- Where events come in: HTTP, in the shape every Segment SDK sends. Time waits a minute for events that are under way, and
-- runs on after two minutes without events, so that a quiet shop fires too.
CREATE TABLE events (
  user_id     TEXT NOT NULL,
  event       TEXT,
  ts          TIMESTAMP NOT NULL,
  email       TEXT,
  first_name  TEXT,
  cart_id     TEXT,
  item_count  BIGINT,
  product     TEXT,
  WATERMARK FOR ts AS ts - INTERVAL '1 minute'
) WITH (connector = 'collector', idle_timeout = INTERVAL '2 minutes');

-- Where trigger rows go out: each becomes at most one email. News that is older than six hours stays unsent.
CREATE TABLE reminders WITH (
  connector = 'email',
  template  = 'template.mjml',
  subject   = '{{ first_name | default("Hello") }}, your {{ product | default("cart") }} is still here',
  from      = 'Fern & Oak <hello@fern-and-oak.example>',
  topic     = 'cart_reminders',
  ttl       = INTERVAL '6 hours'
);

-- A step waits until nothing of its hour can come any more, and leaves if nothing that is named in NOT EXISTS came.
INSERT INTO reminders
SELECT user_id                           AS recipient_key,
       'cart:' || COALESCE(cart_id, '')  AS dedupe_key,  -- whichever hour of a cart ends first mails; the others don't
       ts + INTERVAL '1 hour'            AS fire_ts,     -- the six hours of `ttl` count from here
       email,
       first_name,
       cart_id,
       product
FROM events AS step
WHERE event IN ('Cart Updated', 'Checkout Started')
  AND item_count > 0
  AND NOT EXISTS (
    SELECT 1
    FROM events AS later
    WHERE later.user_id = step.user_id
      AND later.ts BETWEEN step.ts AND step.ts + INTERVAL '1 hour'      -- both ends of the hour count
      AND (later.event = 'Order Completed'                              -- bought, whichever cart it was
           OR later.item_count = 0 AND later.cart_id = step.cart_id)    -- or this cart was emptied
  );
