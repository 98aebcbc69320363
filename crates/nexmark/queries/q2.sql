-- Selection: the bids for some items, and their price.
SELECT auction, price
FROM bid
WHERE auction % 123 = 0
