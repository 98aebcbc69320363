-- Price drop: one email when a product that a customer looked at in the last 14 days becomes at least 10% cheaper, unless they
-- have bought it since. One a day at most.

-- Where events come in: HTTP, in the shape every Segment SDK sends. A price is changed by the shop, not by a customer, so
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
  price        DOUBLE,
  old_price    DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '1 minute'
) WITH (connector = 'collector', idle_timeout = INTERVAL '2 minutes');

-- Where trigger rows go out: each becomes at most one email. News that is older than a day stays unsent.
CREATE TABLE price_alerts WITH (
  connector = 'email',
  template  = 'template.mjml',
  subject   = 'Now {{ price | money("USD") }}: {{ product | default("something you looked at") }}',
  from      = 'Fern & Oak <hello@fern-and-oak.example>',
  topic     = 'price_alerts',
  ttl       = INTERVAL '1 day'
);

-- Prices that fell by a tenth or more, to the cent. The event says from what to what.
CREATE VIEW drops AS
SELECT *, CAST(round((1 - price / old_price) * 100) AS BIGINT) AS percent
FROM events
WHERE event = 'Price Changed'
  AND price > 0
  AND price <= round(old_price * 0.9, 2);

-- Each drop meets the views of its product in the 14 days before it; both ends count.
CREATE VIEW hits AS
SELECT viewed.user_id, viewed.email, viewed.first_name, viewed.ts AS viewed_at,
       drops.product_id, drops.product, drops.product_url, drops.price, drops.old_price, drops.percent,
       drops.ts AS dropped_at
FROM drops
JOIN events AS viewed
  ON  viewed.product_id = drops.product_id
  AND viewed.ts BETWEEN drops.ts - INTERVAL '14 days' AND drops.ts
WHERE viewed.event = 'Product Viewed'
  AND viewed.user_id <> '';  -- nor NULL: nobody knows who that was

-- Several views, and several drops of a day, have the same `dedupe_key`: one email, and a reason for each that was not sent.
INSERT INTO price_alerts
SELECT user_id                              AS recipient_key,
       'drop:' || CAST(dropped_at AS DATE)  AS dedupe_key,  -- one a day (UTC), also when everything is on sale
       dropped_at                           AS fire_ts,     -- the day of `ttl` counts from here
       email,
       first_name,
       product,
       product_url,
       price,
       old_price,
       percent
FROM hits
WHERE NOT EXISTS (
  SELECT 1
  FROM events AS bought
  WHERE bought.user_id = hits.user_id
    AND bought.product_id = hits.product_id
    AND bought.event = 'Product Purchased'
    AND bought.ts BETWEEN hits.dropped_at - INTERVAL '14 days' AND hits.dropped_at
    AND bought.ts >= hits.viewed_at  -- what was bought before the view does not cancel it
);
