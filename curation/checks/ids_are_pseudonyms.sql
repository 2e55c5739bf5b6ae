-- title: Every id is one that rwid made by a keyed hash (a UUID of version 8), never one that came with the data.
-- severity: error
-- scope: delivery
WITH ids AS (
    SELECT 'instances' AS "table", unnest([instance_id, series_id, study_id, patient_id, accession_id,
                                           frame_of_reference_id]) AS id FROM instances
    UNION ALL
    SELECT 'reports', unnest([report_id, study_id, patient_id]) FROM reports
    UNION ALL
    SELECT 'outcomes', unnest([patient_id, study_id]) FROM outcomes
)
SELECT DISTINCT "table", id
FROM ids
WHERE id IS NOT NULL AND substr(id::VARCHAR, 15, 1) <> '8'
