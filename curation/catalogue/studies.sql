-- studies: one row per study, folded from the folded `series`, from `instances`, `reports` and `findings`.
-- Placeholder: {code_version}. Tables: site_facts(site, country, continent), finding_bits(finding, bit),
-- buckets(patient_id, split_bucket).
WITH weighted AS (
    SELECT *,
        -- what the study is, its images say, and neither its localizers nor its reports; those count where there is
        -- nothing else. Whole numbers: their sum does not depend on the order
        CASE WHEN modality IN ('SR', 'KO', 'PR', 'DOC', 'SEG', 'RTSTRUCT', 'RTPLAN', 'RTDOSE', 'REG', 'OT')
               OR kind IN ('localizer', 'dose_report', 'capture') THEN 0 ELSE n_frames END::BIGINT * 1000000
            + n_instances AS weight
    FROM folded_series
),
votes AS (
    SELECT study_id, attribute, value, sum(weight) AS weight
    FROM (UNPIVOT (SELECT study_id, weight, modality, body_part, manufacturer, model FROM weighted)
          ON modality, body_part, manufacturer, model INTO NAME attribute VALUE value)
    GROUP BY ALL
),
winners AS (
    SELECT study_id, attribute, first(value ORDER BY weight DESC, value) AS value FROM votes GROUP BY ALL
),
chosen AS (
    SELECT study_id,
        max(value) FILTER (attribute = 'modality') AS modality,
        max(value) FILTER (attribute = 'body_part') AS body_part,
        max(value) FILTER (attribute = 'manufacturer') AS manufacturer,
        max(value) FILTER (attribute = 'model') AS model
    FROM winners GROUP BY ALL
),
-- a study that two sites delivered in part belongs to the patient at the site that gave most of it
owned AS (
    SELECT study_id, patient_id, site, sum(weight) AS weight FROM weighted GROUP BY ALL
),
owners AS (
    SELECT study_id, first(struct_pack(patient_id, site) ORDER BY weight DESC, patient_id, site) AS owner
    FROM owned GROUP BY ALL
),
summed AS (
    SELECT study_id, owner.patient_id, owner.site,
        list_sort(list(DISTINCT modality)) AS modalities,
        count(*)::INTEGER AS n_series,
        sum(n_instances)::INTEGER AS n_instances,
        sum("bytes")::BIGINT AS "bytes",
        max(delivery) AS delivery
    FROM folded_series JOIN owners USING (study_id) GROUP BY ALL
),
people AS (
    SELECT study_id, min(study_date) AS study_date, min(age_years) AS age_years, mode(sex ORDER BY sex) AS sex
    FROM instances GROUP BY ALL
),
reported AS (SELECT study_id, max(delivery) AS delivery FROM reports GROUP BY ALL),
found AS (
    SELECT study_id,
        list_sort(list(DISTINCT finding)) AS findings,
        coalesce(bit_or(1::BIGINT << bit), 0) AS finding_mask,
        max(delivery) AS delivery
    FROM findings LEFT JOIN finding_bits USING (finding)
    WHERE assertion = 'present'
    GROUP BY ALL
)
SELECT study_id, patient_id, site, country, continent, study_date, age_years, sex, chosen.modality, modalities,
    body_part, manufacturer, model, n_series, n_instances, "bytes",
    reported.study_id IS NOT NULL AS has_report,
    coalesce(finding_mask, 0) AS finding_mask,
    coalesce(findings, []) AS findings,
    split_bucket,
    greatest(summed.delivery, coalesce(reported.delivery, ''), coalesce(found.delivery, '')) AS delivery,
    {code_version} AS code_version
FROM summed
JOIN chosen USING (study_id)
JOIN people USING (study_id)
JOIN buckets USING (patient_id)
LEFT JOIN site_facts USING (site)
LEFT JOIN reported USING (study_id)
LEFT JOIN found USING (study_id)
