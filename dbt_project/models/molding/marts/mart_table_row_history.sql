-- One row per version of a row of the published tables, with its period.
with published_periods as (

    select * from {{ ref('stg_molding__history') }}

),

row_digests as (

    select * from {{ ref('int_molding__rows_digested') }}

),

run as (

    select * from {{ ref('stg_molding__run') }}

),

versions as (

    {{ history(
        'published_periods', 'row_digests', 'run',
        key='row_id',
        watched=['row_digest'],
        columns=['row_id', 'table_name', 'row_digest'],
    ) }}

)

select * from versions
