-- One row per OSV record and affected interval.
with source as (

    select * from {{ source('advisories', 'osv') }}

),

renamed as (

    select
        osv_id,
        -- These ids name one vulnerability. `related` is left out: its ids name other ones.
        -- list_distinct() leaves the order open.
        list_sort(list_distinct(list_concat(
            [regexp_replace(osv_id, '^DEBIAN-', '')], coalesce(aliases, []), coalesce(upstream, [])
        ))) as vulnerability_ids,
        ecosystem,
        package_name,
        lower(package_name) as package_key,
        affected_number,
        versions,
        range_number,
        introduced,
        fixed as fixed_version,
        last_affected,
        range_limit,
        -- GIT ranges name commits, and SEMVER ranges no versions of packages.
        range_number is null or coalesce(
            range_type = 'ECOSYSTEM'
            and coalesce(introduced, fixed, last_affected, range_limit) is not null,
            false
        ) as is_evaluable,
        withdrawn_at,
        modified_at,
        source_sha256,
        source_row,
    from source

)

select * from renamed
