-- Daily digest: one email a day with what the makers that a customer follows have posted, and none on a day without a post.

-- Where events come in: HTTP, in the shape every Segment SDK sends. Time waits five minutes for events that are under way, and
-- runs on after ten minutes without events, so that midnight comes in a quiet shop too.
CREATE TABLE events (
  user_id     TEXT NOT NULL,
  event       TEXT,
  ts          TIMESTAMP NOT NULL,
  email       TEXT,
  first_name  TEXT,
  title       TEXT,
  url         TEXT,
  WATERMARK FOR ts AS ts - INTERVAL '5 minutes'
) WITH (connector = 'collector', idle_timeout = INTERVAL '10 minutes');

-- Where trigger rows go out: each becomes at most one email. Yesterday's news is sent until noon.
CREATE TABLE digests WITH (
  connector = 'email',
  template  = 'template.mjml',
  subject   = '{% if posts == 1 %}One new thing{% else %}{{ posts }} new things{% endif %} from makers you follow',
  from      = 'Fern & Oak <hello@fern-and-oak.example>',
  topic     = 'digest',
  ttl       = INTERVAL '12 hours'
);

-- A window is a day from midnight to midnight, UTC. It ends when time is past midnight.
CREATE VIEW days AS
SELECT user_id,
       tumble(INTERVAL '1 day')                                                AS w,
       count(*)                                                                AS posts,
       array_agg(named_struct('title', title, 'url', url) ORDER BY ts, title)  AS items,
       last_value(email      ORDER BY ts)                                      AS email,
       last_value(first_name ORDER BY ts)                                      AS first_name
FROM events
WHERE event = 'Update Posted'
  AND title <> ''  -- nor NULL: there would be nothing to read
GROUP BY user_id, w;

INSERT INTO digests
SELECT user_id                             AS recipient_key,
       'digest:' || CAST(w.start AS DATE)  AS dedupe_key,  -- one for each day
       w.end                               AS fire_ts,     -- the twelve hours of `ttl` count from here
       email,
       first_name,
       w.start                             AS day,
       posts,
       items[1:10]                         AS items        -- the first ten; `posts` counts them all
FROM days;
