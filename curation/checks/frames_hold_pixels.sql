-- title: Every frame has bytes, a codec that rwid reads and the hash of its pixels.
-- severity: error
-- scope: delivery
SELECT instance_id, frame_index, codec
FROM frames
WHERE octet_length(payload) = 0 OR octet_length(pixel_sha256) <> 32 OR codec NOT IN ('htj2k', 'jpeg', 'zstd')
