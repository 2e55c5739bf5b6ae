-- series: one row per series, folded from `instances`.
-- Placeholders, filled by curation/catalog.py: {orientation} plane of one image, {kind} kind of an aggregated row
-- (both from curation/modality.py), {code_version}. Macros: same(x) is x where it does not vary, else NULL.
WITH images AS (
    SELECT *,
        {orientation} AS plane,
        list_transform(image_orientation, lambda c: round(c, 2)) AS cosines,
        CASE WHEN len(image_orientation) = 6 AND len(image_position) = 3 THEN
            image_position[1] * (image_orientation[2] * image_orientation[6] - image_orientation[3] * image_orientation[5])
          + image_position[2] * (image_orientation[3] * image_orientation[4] - image_orientation[1] * image_orientation[6])
          + image_position[3] * (image_orientation[1] * image_orientation[5] - image_orientation[2] * image_orientation[4])
        END AS along_mm
    FROM instances
),
-- distances of neighbours along the normal, and how far each image is off the even grid from first to last
ranked AS (
    SELECT series_id, along_mm,
        along_mm - lag(along_mm) OVER nearest AS gap_mm,
        row_number() OVER nearest - 1 AS rank,
        count(*) OVER whole - 1 AS n_gaps,
        min(along_mm) OVER whole AS first_mm,
        max(along_mm) OVER whole AS last_mm
    FROM images
    WHERE along_mm IS NOT NULL
    WINDOW whole AS (PARTITION BY series_id),
           nearest AS (PARTITION BY series_id ORDER BY along_mm, instance_id)
),
stacks AS (
    SELECT series_id,
        count(*) AS n_placed,
        count(DISTINCT round(along_mm, 2)) AS n_positions,
        median(gap_mm) AS gap_mm,
        min(gap_mm) AS gap_mm_min,
        max(gap_mm) AS gap_mm_max,
        any_value((last_mm - first_mm) / nullif(n_gaps, 0)) AS even_mm,
        max(abs(along_mm - (first_mm + rank * (last_mm - first_mm) / nullif(n_gaps, 0)))) AS off_grid_mm
    FROM ranked
    GROUP BY series_id
),
grouped AS (
    SELECT series_id,
        mode(study_id ORDER BY study_id) AS study_id,
        mode(struct_pack(patient_id, site) ORDER BY patient_id, site) AS owner,
        mode(modality ORDER BY modality) AS modality,
        mode(body_part ORDER BY body_part) AS body_part,
        same(view) AS view,
        same(laterality) AS laterality,
        mode(manufacturer ORDER BY manufacturer) AS manufacturer,
        mode(model ORDER BY model) AS model,
        CASE WHEN count(DISTINCT cosines) <= 1 THEN min(plane) END AS orientation,
        count(DISTINCT cosines) AS n_distinct_orientations,
        count(*)::INTEGER AS n_instances,
        sum(n_frames)::INTEGER AS n_frames,
        min(n_frames) > 0 AS has_pixels,
        same(rows_px) AS rows_px,
        same(columns_px) AS columns_px,
        same(pixel_spacing_row_mm) AS pixel_spacing_row_mm,
        same(pixel_spacing_column_mm) AS pixel_spacing_column_mm,
        count(DISTINCT struct_pack(rows_px, columns_px, samples_per_pixel,
                                   a := round(pixel_spacing_row_mm, 4), b := round(pixel_spacing_column_mm, 4))) = 1
            AS has_one_geometry,
        coalesce(max(image_orientation[1]) - min(image_orientation[1]) <= 0.01
             AND max(image_orientation[2]) - min(image_orientation[2]) <= 0.01
             AND max(image_orientation[3]) - min(image_orientation[3]) <= 0.01
             AND max(image_orientation[4]) - min(image_orientation[4]) <= 0.01
             AND max(image_orientation[5]) - min(image_orientation[5]) <= 0.01
             AND max(image_orientation[6]) - min(image_orientation[6]) <= 0.01, true) AS has_one_orientation,
        same(slice_thickness_mm) AS slice_thickness_mm,
        same(spacing_between_slices_mm) AS stated_spacing_mm,
        same(kernel) AS kernel,
        same(kvp) AS kvp,
        min(exposure_mas) AS exposure_mas_min,
        max(exposure_mas) AS exposure_mas_max,
        bool_or(contrast) AS contrast,
        same(echo_time_ms) AS echo_time_ms,
        same(repetition_time_ms) AS repetition_time_ms,
        same(inversion_time_ms) AS inversion_time_ms,
        max(b_value) AS b_value,
        same(samples_per_pixel) AS samples_per_pixel,
        mode(sop_class ORDER BY sop_class) AS sop_class,
        first(image_type ORDER BY instance_number NULLS LAST, instance_id) AS image_type,
        first(scanning_sequence ORDER BY instance_number NULLS LAST, instance_id) AS scanning_sequence,
        mode(series_description ORDER BY series_description) AS series_description,
        mode(protocol_name ORDER BY protocol_name) AS protocol_name,
        sum("bytes")::BIGINT AS "bytes",
        max(delivery) AS delivery
    FROM images
    GROUP BY series_id
),
measured AS (
    SELECT grouped.*,
        coalesce(n_positions, 0)::INTEGER AS n_positions,
        coalesce(n_placed, 0) AS n_placed,
        gap_mm, gap_mm_min, gap_mm_max,
        -- the rule by which curation.modality.series_array stacks: as far off as rounded headers are, no further
        n_instances = 1 OR coalesce(n_placed, 0) = 0 OR coalesce(gap_mm_min >= greatest(0.1 * even_mm, 0.001), false)
            AS has_no_duplicate,
        n_instances = 1 OR coalesce(n_placed, 0) = 0 OR coalesce(off_grid_mm <= greatest(0.1 * even_mm, 0.01), false)
            AS is_even,
        -- a stack without positions may have gaps: only what is no stack is whole without them
        n_instances = 1 OR coalesce(n_placed, 0) = n_instances
            OR (coalesce(n_placed, 0) = 0 AND modality NOT IN ('CT', 'MR', 'PT', 'NM')) AS is_placed
    FROM grouped LEFT JOIN stacks USING (series_id)
),
phases(rank, phase, pattern) AS (
    VALUES (1, 'native', '\b(native?|nativ|sans contraste|sin contraste|senza mdc|ohne km|non ?con(trast)?|without contrast|pre ?contrast|unenhanced)\b'),
           (2, 'arterial', '\b(arteri\w*|art|angio\w*|cta)\b'),
           (3, 'portal_venous', '\b(portal\w*|porto\w*|pv)\b'),
           (4, 'venous', '\b(venous|veno\w*|venös\w*|veneuse|venosa)\b'),
           (5, 'delayed', '\b(delay\w*|late|spät\w*|tardi\w*|excretory|equilibrium)\b')
)
SELECT series_id, study_id, owner.patient_id, modality, body_part, view, laterality, manufacturer, model,
    {kind} AS kind,
    CASE WHEN modality IN ('CT', 'MR') THEN
        (SELECT arg_min(phase, rank) FROM phases
         WHERE regexp_matches(lower(concat_ws(' ', series_description, protocol_name)), pattern)) END AS phase,
    orientation,
    has_one_geometry AND has_one_orientation AND has_no_duplicate AND is_even AND is_placed AS is_whole,
    CASE WHEN n_frames > 0 THEN
        (has_one_geometry::INT + has_one_orientation::INT + has_no_duplicate::INT + is_even::INT + is_placed::INT
         + has_pixels::INT) / 6.0 END AS quality,
    n_instances, n_frames, rows_px, columns_px, pixel_spacing_row_mm, pixel_spacing_column_mm, slice_thickness_mm,
    round(gap_mm, 4) AS spacing_between_slices_mm,
    round(gap_mm_min, 4) AS spacing_between_slices_mm_min,
    round(gap_mm_max, 4) AS spacing_between_slices_mm_max,
    kernel, kvp, exposure_mas_min, exposure_mas_max, contrast, echo_time_ms, repetition_time_ms, "bytes",
    series_description, owner.site, delivery, {code_version} AS code_version
FROM measured
