-- One row per OSV record and affected interval.
with source as (

    select * from {{ source('advisories', 'osv') }}

),

renamed as (

    select
        osv_id,
        -- These ids name one vulnerability. `related` is left out: its ids name other ones.
        list_distinct(list_concat(
            [regexp_replace(osv_id, '^DEBIAN-', '')], coalesce(aliases, []), coalesce(upstream, [])
        )) as vulnerability_ids,
        ecosystem,
        package_name,
        lower(package_name) as package_key,
        introduced,
        fixed as fixed_version,
        range_type,
        last_affected,
        withdrawn_at is not null as is_withdrawn,
        modified_at,
        source_sha256,
        source_row,
    from source

)

select * from renamed
