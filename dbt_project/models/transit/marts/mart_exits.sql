-- One row per exit of a station, as the producer tells of it and of nothing else.
with exits as (

    select * from {{ ref('int_transit__exits_named') }}

),

stations as (

    select * from {{ ref('int_transit__stations_placed') }}

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
        exits.source_sha256,
        exits.source_row,
    from exits
    inner join stations on exits.name_key = stations.name_key

)

select * from described
