-- Abandoned cart: one email, one hour after the last thing a customer did with a cart that still has something in it.

-- Where events come in: HTTP, in the shape every Segment SDK sends. Postrider answers 2xx once an event is on disk.
-- Time waits a minute for events that are under way. One that comes later, when the hour behind it is over too, is late:
-- it is counted and changes nothing.
-- In a quiet shop the clock keeps running after two minutes without events, so the last cart of the night fires too.
CREATE TABLE events (
  user_id     TEXT NOT NULL,
  event       TEXT,
  ts          TIMESTAMP NOT NULL,
  email       TEXT,
  first_name  TEXT,
  cart_id     TEXT,
  cart_value  DOUBLE,
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

-- What lies in the cart after each step. Each event states the whole cart; an order leaves it empty.
CREATE VIEW carts AS
SELECT *, CASE WHEN event = 'Order Completed' THEN 0 ELSE item_count END AS items
FROM events
WHERE event IN ('Cart Updated', 'Checkout Started', 'Order Completed');

-- A session is all of a customer's steps with at most an hour between them; it ends when that hour passes in silence.
-- The last step by event time decides: an order or an emptied cart cancels, a new cart after an order counts again.
INSERT INTO reminders
SELECT user_id                                                   AS recipient_key,
       'cart:' || COALESCE(last_value(cart_id ORDER BY ts), '')  AS dedupe_key,
       max(ts) + INTERVAL '1 hour'                               AS fire_ts,  -- the six hours of `ttl` count from here
       last_value(email      ORDER BY ts)                        AS email,
       last_value(first_name ORDER BY ts)                        AS first_name,
       last_value(cart_id    ORDER BY ts)                        AS cart_id,
       last_value(product    ORDER BY ts)                        AS product,
       last_value(items      ORDER BY ts)                        AS item_count,
       last_value(cart_value ORDER BY ts)                        AS cart_value
FROM carts
GROUP BY user_id, session(INTERVAL '1 hour')
HAVING last_value(items ORDER BY ts, items DESC) > 0;  -- an order at the same moment wins
