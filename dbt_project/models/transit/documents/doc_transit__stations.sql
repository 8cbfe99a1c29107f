-- One row per station with all its exits, in the form of stations.json.
with stations as (

    select * from {{ ref('mart_stations') }}

),

exits as (

    select * from {{ ref('mart_exits') }}

),

latest_update as (

    select max(updated_local)::date::varchar as data_version
    from {{ ref('stg_transit__station_exits') }}

),

exit_lists as (

    select
        station_id,
        list(
            struct_pack(
                exit_id := exit_id,
                exit_code := exit_code,
                lat := latitude_degrees,
                lng := longitude_degrees,
                source := source,
                platforms := platforms,
                accessibility := accessibility,
                bus_stops := bus_stops,
                nearby_landmarks := nearby_landmarks
            )
            order by exit_id
        ) as exits,
    from exits
    group by station_id

),

totals as (

    select
        count(*) as total_stations,
        sum(exits_count)::bigint as total_exits,
        count(*) filter (where extraction_status = 'completed') as enriched_stations,
        count(*) filter (where extraction_status = 'no page') as skipped_stations,
    from stations

),

metadata as (

    select
        struct_pack(
            version := '2',
            source := 'LTA MRT Station Exit',
            data_version := latest_update.data_version,
            total_stations := totals.total_stations,
            total_exits := totals.total_exits,
            enriched_stations := totals.enriched_stations,
            skipped_stations := totals.skipped_stations
        ) as metadata,
    from totals
    cross join latest_update

),

station_documents as (

    select
        stations.station_id,
        stations.official_name,
        stations.display_name,
        stations.mrt_codes,
        stations.lines,
        stations.station_type,
        exit_lists.exits,
        stations.accessibility_notes,
        stations.address,
        stations.postal_code,
        stations.page_url,
        stations.enriched_at as enrichment_last_updated,
        struct_pack(
            extraction_status := stations.extraction_status,
            extraction_confidence := stations.extraction_confidence,
            source := if(stations.extraction_confidence is null, 'official', 'official+model'),
            found_by := stations.found_by,
            found_distance_m := round(stations.found_distance_m, 1)
        ) as data_quality,
        metadata.metadata,
    from stations
    cross join metadata
    inner join exit_lists on stations.station_id = exit_lists.station_id

)

select * from station_documents
