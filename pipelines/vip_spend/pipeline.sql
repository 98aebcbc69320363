-- VIP: one email at the end of a day on which a customer bought something and their purchases of 30 days, less refunds, reach
-- 1,000. One a calendar month at most.

-- Where events come in: HTTP, in the shape every Segment SDK sends. Time waits an hour for events that are under way, since
-- sums should be right, and runs on after two hours without events.
CREATE TABLE events (
  user_id     TEXT NOT NULL,
  event       TEXT,
  ts          TIMESTAMP NOT NULL,
  email       TEXT,
  first_name  TEXT,
  amount      DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '1 hour'
) WITH (connector = 'collector', idle_timeout = INTERVAL '2 hours');

-- Where trigger rows go out: each becomes at most one email. News that is older than three days stays unsent.
CREATE TABLE vips WITH (
  connector = 'email',
  template  = 'template.mjml',
  subject   = 'For our best customers: a table at the kiln',
  from      = 'Fern & Oak <hello@fern-and-oak.example>',
  topic     = 'vip',
  ttl       = INTERVAL '3 days'
);

-- Windows of 30 days, one that ends at each midnight (UTC). An order counts in 30 of them, and then no more.
CREATE VIEW spending AS
SELECT user_id,
       hop(INTERVAL '1 day', INTERVAL '30 days')                                       AS w,
       w.end - INTERVAL '1 day'                                                        AS day,  -- the last of the 30
       round(sum(CASE WHEN event = 'Order Refunded' THEN -amount ELSE amount END), 2)  AS spent,
       max(ts) FILTER (WHERE event = 'Order Completed')                                AS last_order,
       last_value(email      ORDER BY ts)                                              AS email,
       last_value(first_name ORDER BY ts)                                              AS first_name
FROM events
WHERE event IN ('Order Completed', 'Order Refunded')
GROUP BY user_id, w;

INSERT INTO vips
SELECT user_id                                           AS recipient_key,
       'vip:' || CAST(date_trunc('month', day) AS DATE)  AS dedupe_key,  -- one a month, named by its first day
       day + INTERVAL '1 day'                            AS fire_ts,     -- the three days of `ttl` count from here
       email,
       first_name,
       spent
FROM spending
WHERE spent >= 1000
  AND last_order >= day;  -- bought on the last day itself: not every day on which old orders still count
