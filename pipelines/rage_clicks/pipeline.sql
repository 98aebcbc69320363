-- Rage clicks: somebody hits the same button five times within three seconds, and nothing happens. One email a day that offers
-- help.

-- Where events come in: HTTP, in the shape every Segment SDK sends. Clicks are of now or worthless, so time waits only ten
-- seconds for events that are under way; after half a minute without events it runs on.
CREATE TABLE events (
  user_id     TEXT NOT NULL,
  event       TEXT,
  ts          TIMESTAMP NOT NULL,
  email       TEXT,
  first_name  TEXT,
  element     TEXT,
  WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
) WITH (connector = 'collector', idle_timeout = INTERVAL '30 seconds');

-- Where trigger rows go out: each becomes at most one email. An hour later nobody remembers the button.
CREATE TABLE offers_of_help WITH (
  connector = 'email',
  template  = 'template.mjml',
  subject   = 'Did something not work?',
  from      = 'Fern & Oak <help@fern-and-oak.example>',
  topic     = 'help',
  ttl       = INTERVAL '1 hour'
);

-- Windows of three seconds, a new one each second. A click stands in three of them, so a burst shows up in several.
CREATE VIEW bursts AS
SELECT user_id,
       element,
       hop(INTERVAL '1 second', INTERVAL '3 seconds')  AS w,
       w.end                                           AS over_at,
       COALESCE(min(ts), w.start)                      AS began_at,  -- min(ts), and never NULL: it makes the key
       count(*)                                        AS clicks,
       max(email)                                      AS email,
       max(first_name)                                 AS first_name
FROM events
WHERE event = 'Element Clicked'
  AND element <> ''  -- nor NULL: clicks on nothing in particular don't count
GROUP BY user_id, element, w
HAVING count(*) >= 5;

INSERT INTO offers_of_help
SELECT user_id                            AS recipient_key,
       'rage:' || CAST(began_at AS DATE)  AS dedupe_key,  -- one a day (UTC), however many windows, bursts and buttons
       over_at                            AS fire_ts,     -- the hour of `ttl` counts from here
       email,
       first_name,
       element,
       clicks
FROM bursts;
