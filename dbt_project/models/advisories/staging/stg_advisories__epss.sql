-- One row per CVE: its probability of exploitation.
with source as (

    select * from {{ source('advisories', 'epss') }}

),

renamed as (

    select
        cve_id,
        epss,
        percentile,
    from source

)

select * from renamed
