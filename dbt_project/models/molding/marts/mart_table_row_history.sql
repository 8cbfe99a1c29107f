-- One row per version of a row of the published tables, with the time for which it held.
with published as (

    select * from {{ ref('stg_molding__history') }}

),

digested as (

    select * from {{ ref('int_molding__rows_digested') }}

),

run as (

    select * from {{ ref('stg_molding__run') }}

),

versions as (

    {{ history(
        'published', 'digested', 'run',
        key='row_id',
        watched=['row_digest'],
        columns=['row_id', 'table_name', 'row_digest'],
    ) }}

)

select * from versions
