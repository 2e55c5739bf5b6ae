-- title: Every object has exactly its frames, numbered from 0, in its own series, and no frame is without an object.
-- severity: error
-- scope: delivery
WITH counted AS (
    SELECT instance_id, min(series_id) AS series_id, count(*) AS n_frames, count(DISTINCT series_id) AS n_series,
        count(DISTINCT frame_index) AS n_indices, min(frame_index) AS first_index, max(frame_index) AS last_index
    FROM frames
    GROUP BY instance_id
)
SELECT coalesce(i.instance_id, c.instance_id) AS instance_id, i.n_frames AS n_frames_stated, c.n_frames AS n_frames_found
FROM (SELECT instance_id, series_id, n_frames FROM instances) AS i
FULL JOIN counted AS c USING (instance_id)
WHERE i.instance_id IS NULL
   OR i.n_frames <> coalesce(c.n_frames, 0)
   OR (c.n_frames > 0 AND (c.first_index <> 0 OR c.last_index <> c.n_frames - 1 OR c.n_indices <> c.n_frames
                           OR c.n_series <> 1 OR c.series_id <> i.series_id))
