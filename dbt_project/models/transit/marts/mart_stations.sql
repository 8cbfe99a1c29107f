-- One row per station. An interchange is one station, although its lines and modes have names and
-- codes of their own. The search, the pages and the answers add columns and change no other column.
with stations as (

    select * from {{ ref('int_transit__stations_placed') }}

),

search_matches as (

    select * from {{ ref('int_transit__search_matched') }}

),

enrichments as (

    select * from {{ ref('int_transit__stations_enriched') }}

),

exits as (

    select * from {{ ref('int_transit__exits_named') }}

),

pages as (

    select * from {{ ref('stg_transit__station_pages') }}

),

page_titles as (

    select
        exits.name_key,
        min(pages.title) as title,
    from pages
    inner join exits on pages.searched_name = exits.raw_station_name
    group by exits.name_key

),

described_stations as (

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
        search_matches.address,
        search_matches.postal_code,
        search_matches.matched_by as found_by,
        search_matches.distance_m as found_distance_m,
        coalesce(enrichments.accessibility_notes, []) as accessibility_notes,
        case
            when enrichments.extraction_confidence is not null then 'completed'
            when page_titles.title is not null then 'no answer'
            else 'no page'
        end as extraction_status,
        enrichments.extraction_confidence,
        enrichments.enriched_at,
        'https://singapore-mrt-lines.fandom.com/wiki/'
        || url_encode(replace(page_titles.title, ' ', '_')) as page_url,
        page_titles.title as page_title,
        concat_ws(
            ' ',
            concat('It has ', stations.exits_count),
            if(stations.exits_count = 1, 'exit', 'exits'),
            'in the producer''s file;',
            if(len(stations.mrt_codes) = 1, 'its code is', 'its codes are'),
            concat(array_to_string(stations.mrt_codes, ', '), '.'),
            if(
                search_matches.matched_by is null,
                'The map service has no building of that name near its exits.',
                concat(
                    'The map service has a building of that ', search_matches.matched_by, ' ',
                    round(search_matches.distance_m)::bigint, ' m from the middle of its exits.'
                )
            ),
            if(
                enrichments.extraction_confidence is null,
                null,
                concat('A model adds claims of ', enrichments.extraction_confidence, ' confidence.')
            )
        ) as explanation,
        stations.evidence,
    from stations
    left join search_matches on stations.name_key = search_matches.name_key
    left join enrichments on stations.name_key = enrichments.name_key
    left join page_titles on stations.name_key = page_titles.name_key

)

select * from described_stations
