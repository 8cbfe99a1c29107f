-- One row per exit of a station, as the producer tells of it and of nothing else; what an answer
-- says of it stands beside.
with exits as (

    select * from {{ ref('int_transit__exits_named') }}

),

stations as (

    select * from {{ ref('int_transit__stations_placed') }}

),

enriched as (

    select * from {{ ref('int_transit__exits_enriched') }}

),

described as (

    select
        coalesce(stations.station_id, exits.name_key) as station_id,
        exits.exit_id,
        exits.exit_code,
        exits.mode,
        exits.longitude_degrees,
        exits.latitude_degrees,
        'datagov' as source,
        coalesce(enriched.platforms, []) as platforms,
        coalesce(enriched.accessibility, []) as accessibility,
        coalesce(enriched.bus_stops, []) as bus_stops,
        coalesce(enriched.nearby_landmarks, []) as nearby_landmarks,
        exits.source_sha256,
        exits.source_row,
    from exits
    inner join stations on exits.name_key = stations.name_key
    left join enriched on exits.name_key = enriched.name_key and exits.exit_id = enriched.exit_id

)

select * from described
