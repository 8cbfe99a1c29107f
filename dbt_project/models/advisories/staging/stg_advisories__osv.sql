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
        -- An ecosystem has one spelling. Another case, or anything but a colon before the release,
        -- is a mistake, and no other ecosystem.
        regexp_replace(
            regexp_replace(ecosystem, '^debian$', 'Debian', 'i'),
            '^debian[^A-Za-z0-9]+', 'Debian:', 'i'
        ) as ecosystem,
        package_name,
        {{ fold_case('package_name') }} as package_key,
        affected_number,
        versions,
        range_number,
        introduced,
        fixed as fixed_version,
        last_affected,
        -- A word is no limit. Its sort key would be below or above all versions.
        case when range_limit = '*' or {{ is_deb_version('range_limit') }} then range_limit end
            as range_limit,
        -- GIT ranges name commits, SEMVER ranges no versions of packages. An enumerated word could
        -- stand for any version, and a fix in 0 without a start says nothing. Neither an event of
        -- another kind nor a start that is no version says where the range is. A package without
        -- an ecosystem could be one of any release.
        (
            range_number is null or coalesce(
                range_type = 'ECOSYSTEM'
                and coalesce(introduced, last_affected, range_limit, case
                    when not {{ is_version_zero('fixed') }} then fixed
                end) is not null
                and unknown_event is null
                and (introduced is not null or introduced_text is null),
                false
            )
        )
        and coalesce(
            len(list_filter(versions, lambda version: not {{ is_deb_version('version') }})) = 0,
            true
        )
        and ecosystem is not null as is_evaluable,
        withdrawn_at,
        modified_at,
        {{ source_record('osv', ['package_key']) }} as source_record,
        source_sha256,
        source_row,
    from source

)

select * from renamed
