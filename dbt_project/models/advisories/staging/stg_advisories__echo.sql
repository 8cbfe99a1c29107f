-- One row per package and vulnerability id that the vendor's feed lists.
with source as (

    select * from {{ source('advisories', 'echo') }}

),

renamed as (

    select
        cve_id,
        package_name,
        {{ fold_case('package_name') }} as package_key,
        -- The feed writes '0' and '1' for "not applicable"; they are no versions.
        coalesce(regexp_matches(fixed_version, '^(0+:)?0*[01](-0*)?$'), false) as is_sentinel,
        case when fixed_version != '' and not is_sentinel then fixed_version end as fixed_version,
        lower(nullif(severity, '')) as severity,
        {{ source_record('echo', ['package_key', 'cve_id']) }} as source_record,
        source_sha256,
        source_row,
    from source

)

select * from renamed
