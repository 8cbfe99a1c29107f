-- One row per station; what an interchange is called by several names and modes is one. The
-- enrichment stands apart from what is known and never changes it.
with stations as (

    select * from {{ ref('int_transit__stations_placed') }}

),

found as (

    select * from {{ ref('int_transit__search_matched') }}

),

enriched as (

    select * from {{ ref('int_transit__stations_enriched') }}

),

exits as (

    select * from {{ ref('int_transit__exits_named') }}

),

pages as (

    select
        exits.name_key,
        min(pages.title) as title,
    from {{ ref('stg_transit__station_pages') }} as pages
    inner join exits on pages.searched_name = exits.served_name
    group by exits.name_key

),

named as (

    select
        coalesce(stations.station_id, stations.name_key) as station_id,
        concat(
            stations.name_key,
            case
                when stations.has_mrt and stations.has_lrt then ' MRT/LRT STATION'
                when stations.has_lrt then ' LRT STATION'
                else ' MRT STATION'
            end
        ) as official_name,
        coalesce(stations.display_name, stations.name_key) as display_name,
        coalesce(stations.mrt_codes, []) as mrt_codes,
        coalesce(stations.lines, []) as lines,
        if(coalesce(stations.has_mrt, true), 'mrt', 'lrt') as station_type,
        stations.longitude_degrees,
        stations.latitude_degrees,
        stations.exits_count,
        coalesce(len(stations.lines) > 1, false) as is_interchange,
        found.address,
        found.postal_code,
        found.matched_by as found_by,
        found.distance_m as found_distance_m,
        coalesce(enriched.accessibility_notes, []) as accessibility_notes,
        case
            when enriched.extraction_confidence is not null then 'completed'
            when pages.title is not null then 'no answer'
            else 'no page'
        end as extraction_status,
        enriched.extraction_confidence,
        enriched.enriched_at,
        'https://singapore-mrt-lines.fandom.com/wiki/' || url_encode(replace(pages.title, ' ', '_'))
            as page_url,
        pages.title as page_title,
        concat_ws(
            ' ',
            concat('It has ', stations.exits_count),
            if(stations.exits_count = 1, 'exit', 'exits'),
            'in the producer''s file;',
            if(len(stations.mrt_codes) = 1, 'its code is', 'its codes are'),
            concat(array_to_string(stations.mrt_codes, ', '), '.'),
            if(
                found.matched_by is null,
                'The map service has no building of that name near its exits.',
                concat(
                    'The map service has a building of that ', found.matched_by, ' ',
                    round(found.distance_m)::bigint, ' m from the middle of its exits.'
                )
            ),
            if(
                enriched.extraction_confidence is null,
                null,
                concat('A model adds claims of ', enriched.extraction_confidence, ' confidence.')
            )
        ) as explanation,
        stations.evidence,
    from stations
    left join found on stations.name_key = found.name_key
    left join enriched on stations.name_key = enriched.name_key
    left join pages on stations.name_key = pages.name_key

)

select * from named
