-- Back in stock: one email when a product comes in again that a customer asked for, or looked at while it was sold out, in
-- the 30 days before; unless they have bought it since.

-- Where events come in: HTTP, in the shape every Segment SDK sends. A restock is an event of the shop, not of a customer, so
-- `user_id` may be missing. Time waits a minute for events that are under way, and runs on after two minutes without events.
CREATE TABLE events (
  user_id      TEXT,
  event        TEXT,
  ts           TIMESTAMP NOT NULL,
  email        TEXT,
  first_name   TEXT,
  product_id   TEXT,
  product      TEXT,
  product_url  TEXT,
  in_stock     BOOLEAN,
  WATERMARK FOR ts AS ts - INTERVAL '1 minute'
) WITH (connector = 'collector', idle_timeout = INTERVAL '2 minutes');

-- Where trigger rows go out: each becomes at most one email. News that is older than a day stays unsent: it may be gone again.
CREATE TABLE alerts WITH (
  connector = 'email',
  template  = 'template.mjml',
  subject   = 'It is back: {{ product | default("what you were looking for") }}',
  from      = 'Fern & Oak <hello@fern-and-oak.example>',
  topic     = 'stock_alerts',
  ttl       = INTERVAL '1 day'
);

-- Who wants a product that can't be had.
CREATE VIEW wishes AS
SELECT *
FROM events
WHERE user_id <> ''  -- nor NULL: a wish is somebody's
  AND (event = 'Stock Alert Requested' OR event = 'Product Viewed' AND NOT in_stock);

-- Each restock meets the wishes for its product of the 30 days before it; both ends count.
CREATE VIEW hits AS
SELECT wish.user_id, wish.email, wish.first_name, wish.ts AS wished_at,
       restock.product_id, restock.product, restock.product_url, restock.ts AS restocked_at
FROM events AS restock
JOIN wishes AS wish
  ON  wish.product_id = restock.product_id
  AND wish.ts BETWEEN restock.ts - INTERVAL '30 days' AND restock.ts
WHERE restock.event = 'Product Restocked'
  AND restock.product_id <> '';

-- Several wishes of one customer have the same `dedupe_key`: they are one email, and a reason for each that was not sent.
INSERT INTO alerts
SELECT user_id                                                     AS recipient_key,
       'stock:' || product_id || ':' || CAST(restocked_at AS DATE) AS dedupe_key,  -- a restock is named by its day (UTC)
       restocked_at                                                AS fire_ts,     -- the day of `ttl` counts from here
       email,
       first_name,
       product,
       product_url
FROM hits
WHERE NOT EXISTS (
  SELECT 1
  FROM events AS bought
  WHERE bought.user_id = hits.user_id
    AND bought.product_id = hits.product_id
    AND bought.event = 'Product Purchased'
    AND bought.ts BETWEEN hits.restocked_at - INTERVAL '30 days' AND hits.restocked_at
    AND bought.ts >= hits.wished_at  -- what was bought before the wish does not cancel it
);
