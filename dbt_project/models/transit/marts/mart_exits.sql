-- One row per exit of a station in the producer's file. Answers add columns to an exit, never an
-- exit.
with exits as (

    select * from {{ ref('int_transit__exits_named') }}

),

stations as (

    select * from {{ ref('int_transit__stations_placed') }}

),

enrichments as (

    select * from {{ ref('int_transit__exits_enriched') }}

),

station_exits as (

    select
        coalesce(stations.station_id, exits.name_key) as station_id,
        exits.exit_id,
        exits.exit_code,
        exits.mode,
        exits.longitude_degrees,
        exits.latitude_degrees,
        'datagov' as source,
        coalesce(enrichments.platforms, []) as platforms,
        coalesce(enrichments.accessibility, []) as accessibility,
        coalesce(enrichments.bus_stops, []) as bus_stops,
        coalesce(enrichments.nearby_landmarks, []) as nearby_landmarks,
        exits.source_sha256,
        exits.source_row,
    from exits
    inner join stations on exits.name_key = stations.name_key
    left join enrichments
        on exits.name_key = enrichments.name_key and exits.exit_id = enrichments.exit_id

)

select * from station_exits
