-- One row per station with all its exits, as stations.json has it.
with stations as (

    select * from {{ ref('mart_stations') }}

),

exits as (

    select * from {{ ref('mart_exits') }}

),

exits_listed as (

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

described as (

    select
        stations.station_id,
        stations.official_name,
        stations.display_name,
        stations.mrt_codes,
        stations.lines,
        stations.station_type,
        exits_listed.exits,
        stations.accessibility_notes,
        stations.address,
        stations.postal_code,
        stations.enriched_at as enrichment_last_updated,
        struct_pack(
            extraction_confidence := stations.extraction_confidence,
            source := if(stations.extraction_confidence is null, 'official', 'official+model'),
            found_by := stations.found_by,
            found_distance_m := round(stations.found_distance_m, 1)
        ) as data_quality,
    from stations
    inner join exits_listed on stations.station_id = exits_listed.station_id

)

select * from described
